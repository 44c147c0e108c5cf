package taxiimem_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver/taxiimem"
)

// A server with one collection in memory, and a client that reads it page by page.
func Example() {
	news := &taxiimem.Collection{Collection: taxii.Collection{ID: "91a7b528-80eb-42ed-a74d-c6fbd5a26116", Title: "News", CanRead: true}}
	s := &taxiimem.Server{
		Discovery: taxii.Discovery{Title: "Example", APIRoots: []string{"/api/"}},
		Roots: map[string]*taxiimem.Root{"api": {
			APIRoot:     taxii.APIRoot{Title: "Example", Versions: []string{taxii.MediaType}, MaxContentLength: 10 << 20},
			Collections: []*taxiimem.Collection{news},
		}},
	}
	for _, address := range []string{"28bb3599-77cd-5a82-a950-b5bc3caf07c4", "ad74bc22-43d2-52ed-890e-7d382f58e1eb"} {
		if err := s.Add(news, []byte(`{"type":"ipv4-addr","id":"ipv4-addr--`+address+`"}`), time.Time{}); err != nil {
			log.Fatal(err)
		}
	}
	h := httptest.NewServer(taxiiserver.New(s, taxiiserver.Options{Secret: []byte("a key that authenticates cursors")}))
	defer h.Close()

	ctx := context.Background()
	client, err := taxiiclient.New(taxiiclient.Options{Server: h.URL})
	if err != nil {
		log.Fatal(err)
	}
	collection, err := client.Find(ctx, "News")
	if err != nil {
		log.Fatal(err)
	}
	for page, err := range client.Pages(ctx, collection, taxiiclient.Cursor{}, taxii.Filter{Limit: 1}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(page.Objects), "object, more behind it:", page.After.Next != "")
	}
	// Output:
	// 1 object, more behind it: true
	// 1 object, more behind it: false
}
