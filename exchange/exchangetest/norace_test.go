//go:build !race

package exchangetest_test

// sideBySide is how many tests run at a time: most wait for disks, deadlines and each other.
const sideBySide = "8"

// someHosts is of how many hosts a thousandth is erased.
const someHosts = 3000
