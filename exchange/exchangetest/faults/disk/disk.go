//go:build linux

// Package disk mounts a directory as a disk that can be made to fail: what is written or synced gets an error, or waits. It wants
// FUSE, and the right to mount.
package disk

import (
	"context"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Disk is a mounted directory.
type Disk struct {
	// Dir is where it is mounted.
	Dir    string
	server *fuse.Server
	errno  atomic.Uint32
	slow   atomic.Int64
}

// Mount mounts a directory, from, at another.
func Mount(from, at string) (*Disk, error) {
	d := &Disk{Dir: at}
	root, err := fs.NewLoopbackRoot(from)
	if err != nil {
		return nil, err
	}
	l := root.(*fs.LoopbackNode).RootData
	l.RootNode = &node{LoopbackNode: fs.LoopbackNode{RootData: l}, d: d}
	second := time.Second
	d.server, err = fs.Mount(at, l.RootNode, &fs.Options{AttrTimeout: &second, EntryTimeout: &second, MountOptions: fuse.MountOptions{DirectMount: true, FsName: "tocsin-faults", Name: "faults"}})
	if err != nil {
		return nil, err
	}
	return d, d.server.WaitMount()
}

// Fail makes all that writes fail with an error from now on; 0 ends that.
func (d *Disk) Fail(errno syscall.Errno) { d.errno.Store(uint32(errno)) }

// Slow makes each sync take so long.
func (d *Disk) Slow(wait time.Duration) { d.slow.Store(int64(wait)) }

// Close ends it, once nobody has a file of it open any more, or after a while.
func (d *Disk) Close() error {
	d.Fail(0)
	d.Slow(0)
	for try := 0; ; try++ {
		err := syscall.Unmount(d.Dir, 0)
		if err == nil {
			d.server.Wait()
			return nil
		}
		if try == 200 {
			return syscall.Unmount(d.Dir, syscall.MNT_DETACH) // who had it open is gone with the process
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (d *Disk) err() syscall.Errno { return syscall.Errno(d.errno.Load()) }

// node is a file or directory.
type node struct {
	fs.LoopbackNode
	d *Disk
}

// WrapChild implements fs.NodeWrapChilder.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	if below, ok := child.(*fs.LoopbackNode); ok {
		return &node{LoopbackNode: fs.LoopbackNode{RootData: below.RootData}, d: n.d}
	}
	return child
}

const writes = uint32(os.O_WRONLY | os.O_RDWR | os.O_CREATE | os.O_TRUNC | os.O_APPEND)

// Open implements fs.NodeOpener.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if e := n.d.err(); e != 0 && flags&writes != 0 {
		return nil, 0, e
	}
	f, fuseFlags, errno := n.LoopbackNode.Open(ctx, flags)
	return n.handle(f), fuseFlags, errno
}

// Create implements fs.NodeCreater.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if e := n.d.err(); e != 0 {
		return nil, nil, 0, e
	}
	inode, f, fuseFlags, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return inode, n.handle(f), fuseFlags, errno
}

// Mkdir implements fs.NodeMkdirer.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if e := n.d.err(); e != 0 {
		return nil, e
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

// Unlink implements fs.NodeUnlinker.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if e := n.d.err(); e != 0 {
		return e
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

// Rename implements fs.NodeRenamer.
func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if e := n.d.err(); e != 0 {
		return e
	}
	return n.LoopbackNode.Rename(ctx, name, parent, newName, flags)
}

// Fsync implements fs.NodeFsyncer.
func (n *node) Fsync(ctx context.Context, f fs.FileHandle, flags uint32) syscall.Errno {
	if h, ok := f.(fs.FileFsyncer); ok {
		return h.Fsync(ctx, flags)
	}
	return n.d.err()
}

func (n *node) handle(f fs.FileHandle) fs.FileHandle {
	if f == nil {
		return nil
	}
	return &handle{f, n.d}
}

// handle is an open file.
type handle struct {
	fs.FileHandle
	d *Disk
}

// Read implements fs.FileReader.
func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return h.FileHandle.(fs.FileReader).Read(ctx, dest, off)
}

// Write implements fs.FileWriter.
func (h *handle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if e := h.d.err(); e != 0 {
		return 0, e
	}
	return h.FileHandle.(fs.FileWriter).Write(ctx, data, off)
}

// Fsync implements fs.FileFsyncer.
func (h *handle) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	<-time.After(time.Duration(h.d.slow.Load()))
	if e := h.d.err(); e != 0 {
		return e
	}
	return h.FileHandle.(fs.FileFsyncer).Fsync(ctx, flags)
}

// Flush implements fs.FileFlusher.
func (h *handle) Flush(ctx context.Context) syscall.Errno {
	return h.FileHandle.(fs.FileFlusher).Flush(ctx)
}

// Release implements fs.FileReleaser.
func (h *handle) Release(ctx context.Context) syscall.Errno {
	return h.FileHandle.(fs.FileReleaser).Release(ctx)
}

// Getattr implements fs.FileGetattrer.
func (h *handle) Getattr(ctx context.Context, out *fuse.AttrOut) syscall.Errno {
	return h.FileHandle.(fs.FileGetattrer).Getattr(ctx, out)
}

// Setattr implements fs.FileSetattrer.
func (h *handle) Setattr(ctx context.Context, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if e := h.d.err(); e != 0 {
		return e
	}
	return h.FileHandle.(fs.FileSetattrer).Setattr(ctx, in, out)
}

// Lseek implements fs.FileLseeker.
func (h *handle) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	return h.FileHandle.(fs.FileLseeker).Lseek(ctx, off, whence)
}

// Allocate implements fs.FileAllocater.
func (h *handle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if e := h.d.err(); e != 0 {
		return e
	}
	return h.FileHandle.(fs.FileAllocater).Allocate(ctx, off, size, mode)
}
