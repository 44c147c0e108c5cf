package view

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Room is how much of the view's disk is left, in bytes.
type Room struct {
	// Free bytes of All.
	Free, All uint64
	// Unwritten is about how many bytes the view has in memory alone and is yet to write.
	Unwritten uint64
}

// Room looks at the disk that the view is on.
func (v *View) Room() (Room, error) {
	use, err := vfs.Default.GetDiskUsage(v.opt.Dir)
	if err != nil {
		return Room{}, fmt.Errorf("look at the disk of the view: %w", err)
	}
	return Room{Free: use.AvailBytes, All: use.TotalBytes, Unwritten: uint64(min(max(v.unwritten.Load(), 0), maxMemTable))}, nil
}
