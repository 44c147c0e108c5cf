// Command subscriber receives a collection of a Tocsin exchange over NATS with
// nothing but a NATS client: a message is a block, a block is a STIX bundle.
//
//	go run ./examples/subscriber nats://127.0.0.1:6122 cert-at TOKEN cert-at
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: subscriber SERVER MEMBER TOKEN COLLECTION")
	}
	server, member, token, collection := os.Args[1], os.Args[2], os.Args[3], os.Args[4]

	// A member may use no other inbox than its own.
	nc, err := nats.Connect(server, nats.UserInfo(member, token), nats.CustomInboxPrefix("_INBOX."+member))
	check(err)
	js, err := jetstream.New(nc)
	check(err)
	// The exchange keeps a durable consumer for each collection you may read.
	consumer, err := js.Consumer(context.Background(), "TOCSIN_BLOCKS", member+"_"+collection)
	check(err)
	z, err := zstd.NewReader(nil)
	check(err)
	messages, err := consumer.Messages()
	check(err)
	for {
		msg, err := messages.Next()
		check(err)
		if msg.Headers().Get("Tocsin-Control") != "" { // it adds nothing: something was removed
			check(msg.Ack())
			continue
		}
		if number := msg.Headers().Get("Tocsin-Replaces"); number != "" {
			log.Printf("block %s has lost objects: what follows is all that stays of it", number)
		}
		bundle, err := z.DecodeAll(msg.Data(), nil)
		check(err)
		fmt.Println(string(bundle)) // block msg.Headers().Get("Tocsin-Block")
		check(msg.Ack())            // what is not acknowledged comes again
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
