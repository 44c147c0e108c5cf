package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange/erasure"
)

// orderPrefix begins the ids under which orders to erase are kept.
const orderPrefix = "erasure-"

// Orders lists the orders to erase, oldest first.
func (j *Journal) Orders(ctx context.Context) (list []*erasure.Order, err error) {
	keys, err := j.kept.kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the orders to erase: %w", err)
	}
	var ids []string
	for key := range keys.Keys() {
		if strings.HasPrefix(key, orderPrefix) && !strings.Contains(key, ".") { // else a part
			ids = append(ids, key)
		}
	}
	for _, id := range ids {
		text, found, err := j.kept.get(ctx, id)
		o := new(erasure.Order)
		if err == nil && found {
			err = json.Unmarshal(text, o)
		}
		if err != nil {
			return nil, fmt.Errorf("read the order to erase %s: %w", id, err)
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b *erasure.Order) int { return a.At.Compare(b.At) })
	return list, nil
}

// SetOrder keeps an order to erase.
func (j *Journal) SetOrder(ctx context.Context, o *erasure.Order) error {
	text, err := json.Marshal(o)
	if err == nil {
		err = j.kept.set(ctx, orderPrefix+o.ID, text)
	}
	if err != nil {
		return fmt.Errorf("keep an order to erase: %w", err)
	}
	return nil
}
