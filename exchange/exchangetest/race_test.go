//go:build race

package exchangetest_test

// sideBySide is how many tests run at a time: under the race detector what waits for deadlines needs the processors.
const sideBySide = "2"
