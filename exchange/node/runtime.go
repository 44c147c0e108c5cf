package node

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

// limitHeap sets the runtime's limit to what is left of the memory: an eighth is
// for what is no heap, and a third for the view's indexes where they are not on
// it. Below the limit the heap may grow to three times of what is alive before it
// is swept: each sweep delays what is on its way to members.
func limitHeap(memory int64) {
	limit := memory - memory/8
	if offHeap {
		limit = memory - memory/3
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
}

// spareProcessor gives the runtime one processor more than the machine has: every
// append waits for the disk, in a system call that keeps its processor for
// milliseconds, and on a machine of two cores all that is on its way to members
// would wait with it. Measured there, 200 members: the 99th percentile of publish
// to receipt falls to half.
var spareProcessor = sync.OnceFunc(func() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
})
