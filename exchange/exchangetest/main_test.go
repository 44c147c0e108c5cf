package exchangetest_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain has more tests run side by side than there are processors: most wait for disks, deadlines and each other.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8") // a number
	}
	_ = os.Setenv("GOMEMLIMIT", "6GiB") // each exchange would bound the process by its own memory
	m.Run()
}
