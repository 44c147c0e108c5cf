package view

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// Room is how much of a disk is left, in bytes.
type Room struct {
	// Free bytes of All.
	Free, All uint64
	// Unwritten is about how many bytes the view has in memory alone and is yet to write.
	Unwritten uint64
}

// Room looks at the disks that the view and other directories are on, and tells of the one that has the
// least.
func (v *View) Room(others ...string) (Room, error) {
	var use vfs.DiskUsage
	for i, dir := range append(others, v.opt.Dir) {
		u, err := vfs.Default.GetDiskUsage(dir)
		if err != nil {
			return Room{}, fmt.Errorf("look at the disk of %s: %w", dir, err)
		}
		if i == 0 || u.AvailBytes < use.AvailBytes {
			use = u
		}
	}
	return Room{Free: use.AvailBytes, All: use.TotalBytes, Unwritten: uint64(min(max(v.unwritten.Load(), 0), store.MaxMemTable))}, nil
}
