package broker

import (
	"fmt"
	"strconv"
	"strings"
	"text/template"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Settings are what a NATS server runs with: the embedded one, or one of its own.
type Settings struct {
	// Listen and Dir are the server's; "" leaves them to whoever runs it.
	Listen, Dir string
	// CertFile and KeyFile turn on TLS.
	CertFile, KeyFile string
	// Keys and Members are for a server of its own: how we log in to it, and the members that
	// it has an account for.
	Keys    *Keys
	Members []string
}

// text is the server's configuration. Accounts come from text: made by
// hand in Go they differ from what a server reads from a file. The last
// import leads nowhere: it shadows $JS.API.INFO, without which the server would
// give the account the whole JetStream API of its own, and two answers to each
// request.
var text = template.Must(template.New("nats").Parse(`
server_name: tocsin
{{if .Listen}}listen: {{.Listen}}
{{end}}max_payload: 8MB
write_deadline: "10s"
jetstream {
{{if .Dir}}  store_dir: {{.Dir}}
{{end}}  sync_interval: always
  limits {default_max_consumers: -1}
}
{{if .CertFile}}tls { cert_file: {{.CertFile}}, key_file: {{.KeyFile}} }
{{end}}system_account: SYS
authorization {
  timeout: 30
{{with .Keys}}  auth_callout { issuer: {{.Issuer}}, auth_users: [{{$.Own}}, {{$.System}}], account: TOCSIN }
{{end}}}
accounts {
  SYS {{"{"}}{{with .Keys}} users: [{user: {{$.System}}, password: {{.SystemPassword}}}] {{end}}{{"}"}}
  TOCSIN {
    jetstream: enabled
{{with .Keys}}    users: [{user: {{$.Own}}, password: {{.Password}}}]
{{end}}    exports: [
{{range .Services}}      {service: {{.}}{{if eq . $.Stream}}, response_type: stream{{end}}}
{{end}}      {service: "tocsin.nowhere"}
    ]
  }
{{range .Members}}  {{.}} {
    imports: [
{{range $.Services}}      {service: {account: TOCSIN, subject: {{.}}}}
{{end}}      {service: {account: TOCSIN, subject: "tocsin.nowhere"}, to: "$JS.API.INFO"}
    ]
  }
{{end}}}
`))

// nextMessages is the service that answers with several messages.
const nextMessages = "$JS.API.CONSUMER.MSG.NEXT." + exchange.BlocksStream + ".*"

// services are what members' accounts import.
var services = []string{
	"$JS.API.CONSUMER.INFO." + exchange.BlocksStream + ".*", nextMessages, "$JS.ACK." + exchange.BlocksStream + ".*.>",
}

// permissions are the subjects that a member may publish to and subscribe to.
func permissions(l *Login) (publish, subscribe []string) {
	for _, d := range l.Consumers {
		publish = append(publish,
			"$JS.API.CONSUMER.INFO."+exchange.BlocksStream+"."+d,
			"$JS.API.CONSUMER.MSG.NEXT."+exchange.BlocksStream+"."+d,
			"$JS.ACK."+exchange.BlocksStream+"."+d+".>")
	}
	return publish, []string{"_INBOX." + l.Member + ".>"}
}

// Text is the configuration as nats-server reads it.
func (s Settings) Text() (string, error) {
	quote := func(s string) string {
		if s == "" {
			return ""
		}
		return strconv.Quote(s)
	}
	data := map[string]any{
		"Listen": quote(s.Listen), "Dir": quote(s.Dir), "CertFile": quote(s.CertFile), "KeyFile": quote(s.KeyFile),
		"Stream": strconv.Quote(nextMessages), "Own": ownUser, "System": systemUser, "Keys": nil,
	}
	var quoted, members []string
	for _, x := range services {
		quoted = append(quoted, strconv.Quote(x))
	}
	for _, m := range s.Members {
		members = append(members, strconv.Quote(memberAccount(m)))
	}
	data["Services"], data["Members"] = quoted, members
	if s.Keys != nil {
		issuer, err := s.Keys.issuer()
		if err != nil {
			return "", err
		}
		data["Keys"] = map[string]string{
			"Issuer": issuer, "Password": strconv.Quote(s.Keys.Password), "SystemPassword": strconv.Quote(s.Keys.SystemPassword),
		}
	}
	var b strings.Builder
	if err := text.Execute(&b, data); err != nil {
		return "", fmt.Errorf("configure NATS: %w", err)
	}
	return b.String(), nil
}
