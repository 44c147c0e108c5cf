//go:build !cgo

package node

const offHeap = false
