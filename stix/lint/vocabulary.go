package lint

import (
	"fmt"
	"slices"
	"strings"
)

// vocabulary is the words that the standard has for a property (STIX 2.1 section 10).
// Words may be added to an open one.
type vocabulary struct {
	words  []string
	closed bool
}

func open(words string) vocabulary { return vocabulary{words: strings.Fields(words)} }

func closed(words string) vocabulary { return vocabulary{words: strings.Fields(words), closed: true} }

// vocabularies are by type and property.
var vocabularies = map[[2]string]vocabulary{
	{"identity", "identity_class"}:              open("individual group system organization class unknown"),
	{"identity", "sectors"}:                     sectors,
	{"indicator", "indicator_types"}:            open("anomalous-activity anonymization benign compromised malicious-activity attribution unknown"),
	{"indicator", "pattern_type"}:               open("stix pcre sigma snort suricata yara"),
	{"infrastructure", "infrastructure_types"}:  open("amplification anonymization botnet command-and-control control-system exfiltration firewall hosting-malware hosting-target-lists phishing reconnaissance routers-switches staging workstation unknown"),
	{"malware", "malware_types"}:                open("adware backdoor bot bootkit ddos downloader dropper exploit-kit keylogger ransomware remote-access-trojan resource-exploitation rogue-security-software rootkit screen-capture spyware trojan unknown virus webshell wiper worm"),
	{"malware", "architecture_execution_envs"}:  open("alpha arm ia-64 mips powerpc sparc x86 x86-64"),
	{"malware", "implementation_languages"}:     open("applescript bash c c++ c# go java javascript lua objective-c perl php powershell python ruby scala swift typescript visual-basic x86-32 x86-64"),
	{"malware", "capabilities"}:                 open("accesses-remote-machines anti-debugging anti-disassembly anti-emulation anti-memory-forensics anti-sandbox anti-vm captures-input-peripherals captures-output-peripherals captures-system-state-data cleans-traces-of-infection commits-fraud communicates-with-c2 compromises-data-availability compromises-data-integrity compromises-system-availability controls-local-machine degrades-security-software degrades-system-updates determines-c2-server emails-spam escalates-privileges evades-av exfiltrates-data fingerprints-host hides-artifacts hides-executing-code infects-files infects-remote-machines installs-other-components persists-after-system-reboot prevents-artifact-access prevents-artifact-deletion probes-network-environment self-modifies steals-authentication-credentials violates-system-operational-integrity"),
	{"malware-analysis", "result"}:              open("malicious suspicious benign unknown"),
	{"grouping", "context"}:                     open("suspicious-activity malware-analysis unspecified"),
	{"report", "report_types"}:                  open("attack-pattern campaign identity indicator intrusion-set malware observed-data threat-actor threat-report tool vulnerability"),
	{"location", "region"}:                      open("africa eastern-africa middle-africa northern-africa southern-africa western-africa americas caribbean central-america latin-america-caribbean northern-america south-america asia central-asia eastern-asia southern-asia south-eastern-asia western-asia europe eastern-europe northern-europe southern-europe western-europe oceania antarctica australia-new-zealand melanesia micronesia polynesia"),
	{"threat-actor", "threat_actor_types"}:      open("activist competitor crime-syndicate criminal hacker insider-accidental insider-disgruntled nation-state sensationalist spy terrorist unknown"),
	{"threat-actor", "roles"}:                   open("agent director independent infrastructure-architect infrastructure-operator malware-author sponsor"),
	{"threat-actor", "sophistication"}:          open("none minimal intermediate advanced expert innovator strategic"),
	{"threat-actor", "resource_level"}:          levels,
	{"threat-actor", "primary_motivation"}:      motives,
	{"threat-actor", "secondary_motivations"}:   motives,
	{"threat-actor", "personal_motivations"}:    motives,
	{"intrusion-set", "resource_level"}:         levels,
	{"intrusion-set", "primary_motivation"}:     motives,
	{"intrusion-set", "secondary_motivations"}:  motives,
	{"tool", "tool_types"}:                      open("denial-of-service exploitation information-gathering network-capture credential-exploitation remote-access vulnerability-scanning unknown"),
	{"user-account", "account_type"}:            open("facebook ldap nis openid radius skype tacacs twitter unix windows-local windows-domain"),
	{"opinion", "opinion"}:                      closed("strongly-disagree disagree neutral agree strongly-agree"),
	{"artifact", "encryption_algorithm"}:        closed("AES-256-GCM ChaCha20-Poly1305 mime-type-indicated"),
	{"extension-definition", "extension_types"}: closed("new-sdo new-sco new-sro property-extension toplevel-property-extension"),
}

var (
	sectors = open("agriculture aerospace automotive chemical commercial communications construction defense education energy entertainment financial-services government emergency-services government-local government-national government-public-services government-regional healthcare hospitality-leisure infrastructure dams nuclear water insurance manufacturing mining non-profit pharmaceuticals retail technology telecommunications transportation utilities")
	levels  = open("individual club contest team organization government")
	motives = open("accidental coercion dominance ideology notoriety organizational-gain personal-gain personal-satisfaction revenge unpredictable")
)

// word checks a text, or each text of a list, against the vocabulary of its property.
func (c *checker) word(typ, name string, v any) {
	of, bounded := vocabularies[[2]string{typ, name}]
	if !bounded || c.errorsOnly && !of.closed {
		return
	}
	severity := Warning
	if of.closed {
		severity = Error
	}
	one := func(at string, v any) {
		if s, ok := v.(string); !ok || !slices.Contains(of.words, s) {
			c.add(at, severity, "10", "%.60q is none of the standard's words: %s", v, strings.Join(of.words, ", "))
		}
	}
	if list, ok := v.([]any); ok {
		for i, v := range list {
			one(fmt.Sprintf("%s[%d]", name, i), v)
		}
		return
	}
	one(name, v)
}
