package exchangetest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, next: 1}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	return a
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a certificate for a name.
func (a *authority) issue(name string, use x509.ExtKeyUsage) tls.Certificate {
	a.next++
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{use},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if strings.Contains(name, ".") {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// write puts a certificate and its key into files.
func write(t *testing.T, dir string, c tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// secure starts an exchange that speaks TLS and takes clients' certificates.
func secure(t *testing.T, a *authority) *exchangetest.Exchange {
	t.Helper()
	dir := t.TempDir()
	cert, key := write(t, dir, a.issue("exchange", x509.ExtKeyUsageServerAuth))
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return exchangetest.OpenWith(t, node.Options{Dir: t.TempDir(), HTTP: "127.0.0.1:0", CertFile: cert, KeyFile: key, ClientCA: ca, Limits: api.Limits{Logins: 1e6}})
}

// ask gets a path over HTTPS.
func ask(t *testing.T, e *exchangetest.Exchange, path string, c *tls.Config, token ...string) (int, *tls.ConnectionState, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.HTTPURL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(token) > 0 {
		req.Header.Set("Authorization", "Bearer "+token[0])
	}
	transport := &http.Transport{TLSClientConfig: c}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	return res.StatusCode, res.TLS, res.Body.Close()
}

func TestHTTPSSpeaksHTTP2(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	e := secure(t, a)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool()}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.HTTPURL()+"/taxii2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
		t.Errorf("%s %s", res.Proto, res.Status)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	e := secure(t, a)
	if !strings.HasPrefix(e.HTTPURL(), "https://") {
		t.Fatal(e.HTTPURL())
	}
	for name, c := range map[string]struct {
		config *tls.Config
		ok     bool
	}{
		"1.3":                {&tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS13}, true},
		"1.2":                {&tls.Config{RootCAs: a.pool(), MaxVersion: tls.VersionTLS12}, true},
		"1.1":                {&tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		"a suite of old":     {&tls.Config{RootCAs: a.pool(), MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
		"no such authority":  {&tls.Config{}, false},
		"what the client is": {withRoots(taxii.TLS(), a.pool()), true},
	} {
		code, state, err := ask(t, e, "/taxii2/", c.config)
		if (err == nil) != c.ok || err == nil && code != 200 {
			t.Errorf("%s: %d %v", name, code, err)
		}
		// Go's server never takes early data; a resumed session is what it would
		// come with, and its handshake is complete.
		if state != nil && !state.HandshakeComplete {
			t.Errorf("%s: %+v", name, state)
		}
	}
	// The client checks the server's certificate by itself.
	c, err := taxiiclient.New(taxiiclient.Options{Server: e.HTTPURL()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.APIRoots(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server that nobody vouches for: %v", err)
	}
	h := taxiiclient.NewHTTP()
	transport, ok := h.HTTPClient.Transport.(*http.Transport)
	if !ok {
		t.Fatal("the client has another transport")
	}
	transport.TLSClientConfig.RootCAs = a.pool()
	if c, err = taxiiclient.New(taxiiclient.Options{Server: e.HTTPURL(), HTTP: h}); err != nil {
		t.Fatal(err)
	}
	roots, err := c.APIRoots(t.Context())
	if err != nil || len(roots) != 1 || roots[0] != e.HTTPURL()+"/public/" {
		t.Errorf("%v %v", roots, err)
	}
}

func withRoots(c *tls.Config, p *x509.CertPool) *tls.Config {
	c.RootCAs = p
	return c
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	e := secure(t, a)
	byHash, bySubject := a.issue("one", x509.ExtKeyUsageClientAuth), a.issue("taxii.cert.example", x509.ExtKeyUsageClientAuth)
	sum := sha256.Sum256(byHash.Certificate[0])
	e.Apply(t, strings.NewReplacer(
		"id: cert-at,", "id: cert-at, certificates: [\"sha256:"+hex.EncodeToString(sum[:])+"\"],",
		"id: cert-pl,", "id: cert-pl, certificates: [CN=taxii.cert.example],",
	).Replace(exchangetest.Register))
	for name, c := range map[string]struct {
		cert       tls.Certificate
		collection string
		want       int // 0: refused by TLS
	}{
		"by its hash":                {byHash, "cert-at", 200},
		"and nobody else's":          {byHash, "cert-pl", 404},
		"by its subject":             {bySubject, "cert-pl", 200},
		"of nobody":                  {a.issue("stranger", x509.ExtKeyUsageClientAuth), "cert-at", 401},
		"of another authority":       {other.issue("taxii.cert.example", x509.ExtKeyUsageClientAuth), "cert-pl", 0},
		"for servers":                {a.issue("taxii.cert.example", x509.ExtKeyUsageServerAuth), "cert-pl", 0},
		"none":                       {tls.Certificate{}, "cert-at", 401},
		"of the same name, forged":   {other.issue("one", x509.ExtKeyUsageClientAuth), "cert-at", 0},
		"by its subject, made again": {a.issue("taxii.cert.example", x509.ExtKeyUsageClientAuth), "cert-pl", 200},
	} {
		config := &tls.Config{RootCAs: a.pool()}
		if c.cert.Certificate != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.cert, nil }
		}
		if code, _, err := ask(t, e, "/exchange/collections/"+c.collection+"/objects/", config); code != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%s: %d, want %d: %v", name, code, c.want, err)
		}
	}
	// A credential that is sent counts, not the certificate beside it.
	config := &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{byHash}}
	if code, _, err := ask(t, e, "/exchange/collections/cert-at/objects/", config, "wrong"); err != nil || code != 401 {
		t.Errorf("a wrong token beside a certificate: %d %v", code, err)
	}
	// It ends with the register's entry.
	e.Apply(t, exchangetest.Register)
	if code, _, err := ask(t, e, "/exchange/collections/cert-at/objects/", config); err != nil || code != 401 {
		t.Errorf("after it was taken: %d %v", code, err)
	}
}
