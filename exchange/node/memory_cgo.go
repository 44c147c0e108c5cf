//go:build cgo

package node

// offHeap says whether Pebble keeps its blocks outside of the runtime's heap.
const offHeap = true
