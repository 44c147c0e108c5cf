package journal

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
)

// What is lost and found elsewhere.

// Missing lists the numbers of intake records and of blocks that are known of and not there, by what Damage has found.
func (j *Journal) Missing(ctx context.Context, found []Damage) (intake, blocks []uint64, err error) {
	have, err := j.states(ctx)
	if err != nil {
		return nil, nil, err
	}
	for stream, to := range map[string]*[]uint64{IntakeStream: &intake, BlocksStream: &blocks} {
		if *to, err = j.missing(ctx, stream); err != nil {
			return nil, nil, err
		}
		for _, d := range found {
			for n := have[stream].LastSeq + 1; d.Stream == stream && n <= d.To; n++ {
				*to = append(*to, n)
			}
		}
		slices.Sort(*to)
		*to = slices.Compact(*to)
	}
	return intake, blocks, nil
}

// IntakeOf is the subject of an intake record, and when it was made.
func (j *Journal) IntakeOf(data []byte) (subject string, at time.Time, err error) {
	text, err := j.Decompress(nil, data)
	if err != nil {
		return "", at, err
	}
	in, err := record.DecodeBeginning(text)
	if err != nil {
		return "", at, err
	}
	return intakePrefix + in.Feed, in.At, nil
}

// Remake gives a block the payload that it had, made of its objects, unless it has one, and returns its subject. Its error is an
// ErrDamaged where the block does not hold what it commits to then.
func (j *Journal) Remake(b *record.Block, objects [][]byte) (subject string, err error) {
	if b.Trimmed {
		return blocksPrefix + b.Collection, nil
	}
	leaves := record.LeavesOf(b)
	if b.Control != "" {
		text, err := j.Decompress(nil, b.Payload)
		if err != nil {
			return "", err
		}
		leaves.Add(text)
	} else {
		text := stix.AppendBundleOpen(nil, bundleID(b))
		for i, o := range objects {
			if i > 0 {
				text = append(text, ',')
			}
			text = append(text, o...)
			leaves.Add(o)
		}
		b.Payload = j.enc.EncodeAll(stix.AppendBundleClose(text), nil)
	}
	if leaves.Root() != b.Root {
		return "", fmt.Errorf("%w: block %d of collection %s is not what the view has", ErrDamaged, b.Number, b.Collection)
	}
	return blocksPrefix + b.Collection, nil
}
