//go:build !race

package exchangetest_test

// sideBySide is how many tests run at a time: most wait for disks, deadlines and each other.
const sideBySide = "8"
