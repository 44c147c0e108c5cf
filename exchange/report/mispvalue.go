package report

import (
	"cmp"
	"encoding/json"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
)

// mispHashes are the names of hashes in STIX (2.1 section 10.7).
var mispHashes = map[string]string{"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha512": "SHA-512"}

// mispValue is a value of a type as a test in a pattern and as an object that can be observed, nil
// where only the test can be made.
func mispValue(typ, value string) (test string, sco map[string]any) {
	quoted := mispQuoted(value)
	simple := func(of string) (string, map[string]any) {
		return of + ":value = " + quoted, mispObserved(of, map[string]any{"value": value})
	}
	switch typ {
	case "ip-src", "ip-dst":
		a, err := netip.ParseAddr(value)
		if err != nil {
			return "", nil
		}
		of := stix.AddressType(a)
		return of + ":value = '" + a.Unmap().String() + "'", map[string]any{"type": of, "spec_version": "2.1", "id": stix.AddressID(a), "value": a.Unmap().String()}
	case "domain", "hostname":
		return simple("domain-name")
	case "url", "uri":
		return simple("url")
	case "email", "email-src", "email-dst":
		if _, _, err := exchange.ParseAccount(value); err != nil {
			return "", nil
		}
		return simple("email-addr")
	case "AS":
		n, err := exchange.ParseASN(strings.TrimSpace(value))
		if err != nil || n == 0 {
			return "", nil
		}
		return "autonomous-system:number = " + strconv.FormatUint(uint64(n), 10), mispObserved("autonomous-system", map[string]any{"number": n})
	case "regkey":
		return mispRegistry(value, "")
	case "mac-address":
		mac, err := net.ParseMAC(strings.TrimSpace(value))
		if err != nil || len(mac) != 6 {
			return "", nil
		}
		return "mac-addr:value = '" + mac.String() + "'", mispObserved("mac-addr", map[string]any{"value": mac.String()})
	case "x509-fingerprint-md5", "x509-fingerprint-sha1", "x509-fingerprint-sha256":
		name := mispHashes[strings.TrimPrefix(typ, "x509-fingerprint-")]
		value = strings.ToLower(strings.ReplaceAll(value, ":", ""))
		if len(value) != map[string]int{"MD5": 32, "SHA-1": 40, "SHA-256": 64}[name] || strings.Trim(value, "0123456789abcdef") != "" {
			return "", nil
		}
		return "x509-certificate:hashes.'" + name + "' = '" + value + "'", mispObserved("x509-certificate", map[string]any{"hashes": map[string]string{name: value}})
	case "user-agent":
		return "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent' = " + quoted, nil
	case "filename":
		return "file:name = " + quoted, mispObserved("file", map[string]any{"name": value})
	case "mutex":
		return "mutex:name = " + quoted, mispObserved("mutex", map[string]any{"name": value})
	}
	if name := mispHashes[typ]; name != "" {
		return "file:hashes.'" + name + "' = " + quoted, mispObserved("file", map[string]any{"hashes": map[string]string{name: value}})
	}
	return "", nil
}

// mispObserved makes an object of the properties that its id is made of (STIX 2.1 section 2.9).
func mispObserved(typ string, properties map[string]any) map[string]any {
	text, err := json.Marshal(properties)
	if err != nil {
		return nil
	}
	id, err := stix.SCOID(typ, text)
	if err != nil {
		return nil
	}
	properties["type"], properties["spec_version"], properties["id"] = typ, "2.1", id
	return properties
}

// mispFlow is who called whom, from ports beside addresses.
type mispFlow struct {
	src, dst         netip.Addr
	srcName, dstName string // where it is no address
	srcPort, dstPort int
	protocol         string
}

// take takes an attribute that is an end of a flow.
func (f *mispFlow) take(a *mispAttribute) bool {
	typ, relation := string(a.Type), string(a.Relation)
	value, port, two := strings.Cut(string(a.Value), "|")
	n, err := strconv.Atoi(port)
	switch {
	case two && err == nil && n >= 0 && n <= 65535 && (typ == "ip-src|port" || typ == "ip-dst|port"):
		address, err := netip.ParseAddr(value)
		if err != nil {
			return false
		}
		if typ == "ip-src|port" {
			f.src, f.srcPort = address.Unmap(), n
		} else {
			f.dst, f.dstPort = address.Unmap(), n
		}
	case two && err == nil && n >= 0 && n <= 65535 && typ == "hostname|port":
		f.dstName, f.dstPort = value, n
	case typ == "port" && (relation == "src-port" || relation == "dst-port"):
		if n, err = strconv.Atoi(string(a.Value)); err != nil || n < 0 || n > 65535 {
			return false
		}
		if relation == "src-port" {
			f.srcPort = n
		} else {
			f.dstPort = n
		}
	case relation == "layer4-protocol":
		f.protocol = strings.ToLower(string(a.Value))
	case (typ == "ip-src" || typ == "ip-dst") && (relation == "ip-src" || relation == "ip-dst"):
		address, err := netip.ParseAddr(string(a.Value))
		if err != nil || typ == "ip-src" && f.src.IsValid() || typ == "ip-dst" && f.dst.IsValid() {
			return false
		}
		if typ == "ip-src" {
			f.src = address.Unmap()
		} else {
			f.dst = address.Unmap()
		}
	default:
		return false
	}
	return true
}

// end adds what the flow is in STIX: the addresses, and where a port or both ends are known a network-traffic.
func (f *mispFlow) end(add func(test string, sco map[string]any)) {
	traffic := map[string]any{"protocols": []string{cmp.Or(f.protocol, "tcp")}}
	for _, e := range []struct {
		name, host string
		address    netip.Addr
		port       int
	}{{"src", f.srcName, f.src, f.srcPort}, {"dst", f.dstName, f.dst, f.dstPort}} {
		if e.address.IsValid() {
			_, sco := mispValue("ip-src", e.address.String())
			traffic[e.name+"_ref"] = sco["id"]
			add("", sco)
			add("network-traffic:"+e.name+"_ref.type = '"+stix.AddressType(e.address)+"'", nil)
			add("network-traffic:"+e.name+"_ref.value = '"+e.address.String()+"'", nil)
		} else if e.host != "" {
			test, sco := mispValue("hostname", e.host)
			traffic[e.name+"_ref"] = sco["id"]
			add("", sco)
			_, value, _ := strings.Cut(test, " = ")
			add("network-traffic:"+e.name+"_ref.type = 'domain-name'", nil)
			add("network-traffic:"+e.name+"_ref.value = "+value, nil)
		}
		if e.port != 0 {
			traffic[e.name+"_port"] = e.port
			add("network-traffic:"+e.name+"_port = "+strconv.Itoa(e.port), nil)
		}
	}
	if _, src := traffic["src_ref"]; !src && traffic["dst_ref"] == nil {
		return
	}
	if f.srcPort+f.dstPort > 0 || traffic["src_ref"] != nil && traffic["dst_ref"] != nil {
		add("", mispObserved("network-traffic", traffic))
	}
}

// mispHives are the names of registry hives, which STIX writes in full (2.1 section 6.17).
var mispHives = map[string]string{"HKLM": "HKEY_LOCAL_MACHINE", "HKCU": "HKEY_CURRENT_USER", "HKCR": "HKEY_CLASSES_ROOT", "HKU": "HKEY_USERS", "HKCC": "HKEY_CURRENT_CONFIG"}

// mispRegistry makes a registry key, with a value's data where that is known.
func mispRegistry(key, data string) (test string, sco map[string]any) {
	hive, rest, _ := strings.Cut(key, `\`)
	if whole := mispHives[strings.ToUpper(hive)]; whole != "" {
		key = strings.TrimSuffix(whole+`\`+rest, `\`)
	}
	test = "windows-registry-key:key = " + mispQuoted(key)
	properties := map[string]any{"key": key}
	if data != "" {
		test += " AND windows-registry-key:values[*].data = " + mispQuoted(data)
		properties["values"] = []map[string]string{{"data": data}}
	}
	return test, mispObserved("windows-registry-key", properties)
}

// mispQuoted writes a text as it stands in a pattern.
func mispQuoted(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}
