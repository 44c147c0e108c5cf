// Package archive keeps an exchange elsewhere: in a directory, or in a store that speaks S3.
//
// An archive is a row of segments. A segment has what the exchange's streams gained between two checkpoints, and says which
// segment it follows. It is written once and never changed: put only where there is none of that name, so that two exchanges
// never write to one archive. Segments of a past day are put together into one, and what was deleted in the journal since is
// not in that any more; where something has to leave an archive at once, its segment is written anew, and then the old one is
// deleted.
//
//	000000000012-000000000012.seg      of one checkpoint
//	000000000001-000000001440.seg      of a day
//	000000000001-000000001440.r2.seg   written anew
//
// Nothing is ordered or chosen by the time of a file: numbers and links decide. Encrypted segments are age files to the
// operator's recipients; the exchange itself cannot read them.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Store is where an archive is.
type Store interface {
	// Put writes an object, whole or not at all, and durably. Its error is an ErrExists where there is one of that name.
	Put(ctx context.Context, name string, from io.Reader, size int64) error
	// Get reads one. Its error is an ErrNotFound where there is none.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// List lists the names of all objects, in any order.
	List(ctx context.Context) ([]string, error)
	// Delete deletes an object; one that is not there is no error.
	Delete(ctx context.Context, name string) error
}

// The errors of a Store, and of what is read from it.
var (
	ErrExists   = errors.New("the archive has an object of that name")
	ErrNotFound = errors.New("the archive has no object of that name")
	ErrDamaged  = errors.New("the archive is damaged")
)

// name is what an object is called.
type name struct {
	first, last uint64 // checkpoints
	rewrite     int    // 0 for the first that was written of it
}

func (n name) String() string {
	s := fmt.Sprintf("%012d-%012d", n.first, n.last)
	if n.rewrite > 0 {
		s += ".r" + strconv.Itoa(n.rewrite)
	}
	return s + ".seg"
}

// parseName reads a name; ok is false for what is no segment's.
func parseName(s string) (n name, ok bool) {
	rest, ok := strings.CutSuffix(s, ".seg")
	rest, rewrite, rewritten := strings.Cut(rest, ".r")
	first, last, dash := strings.Cut(rest, "-")
	var errs [3]error
	n.first, errs[0] = strconv.ParseUint(first, 10, 63)
	n.last, errs[1] = strconv.ParseUint(last, 10, 63)
	if rewritten {
		n.rewrite, errs[2] = strconv.Atoi(rewrite)
	}
	ok = ok && dash && errors.Join(errs[:]...) == nil && n.first > 0 && n.first <= n.last && n.String() == s
	return n, ok
}
