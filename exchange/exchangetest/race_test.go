//go:build race

package exchangetest_test

// sideBySide is how many tests run at a time: under the race detector what waits for deadlines needs the processors.
const sideBySide = "2"

// someHosts is of how many hosts a thousandth is erased: all files are searched, byte by byte.
const someHosts = 1000
