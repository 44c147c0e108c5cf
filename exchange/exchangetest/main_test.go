package exchangetest_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain sets how many tests run side by side, unless the command line does.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(sideBySide) // a number
	}
	_ = os.Setenv("GOMEMLIMIT", "6GiB") // each exchange would bound the process by its own memory
	m.Run()
}
