package report

// intelmqRules say what an event of IntelMQ tells of, by its identifier or its type (its data harmonization, after the
// reference security incident taxonomy). The source is infected where it attacks, scans or spreads something.
var intelmqRules = []rule{
	{"classification.identifier", "*sinkhole*dns*", nothing, "is of a resolver, never the infected host", ""},
	{"classification.identifier", "*dns*sinkhole*", nothing, "is of a resolver, never the infected host", ""},
	{"classification.identifier", "*victim*", nothing, "is of a victim of an attack", ""},
	{"classification.identifier", "*ddos*participant*", infected, "", ""},
	{"classification.type", "test", nothing, "is a test", ""},
	{"classification.type", "ddos", nothing, "is of a victim of an attack", ""},
	{"classification.type", "dos", nothing, "is of a victim of an attack", ""},
	{"classification.type", "vulnerable-system", exposed, "", "classification.identifier"},
	{"classification.type", "potentially-unwanted-accessible", exposed, "", "classification.identifier"},
	{"classification.type", "ddos-amplifier", exposed, "", "classification.identifier"},
	{"classification.type", "weak-crypto", exposed, "", "classification.identifier"},
	{"classification.type", "information-disclosure", exposed, "", "classification.identifier"},
	{"classification.type", "misconfiguration", exposed, "", "classification.identifier"},
	{"classification.type", "data-leak", nothing, "is of what was lost, and of no host that is infected", ""},
	{"classification.type", "data-loss", nothing, "is of what was lost, and of no host that is infected", ""},
	{"classification.type", "dga-domain", nothing, "is of a name, and of no host that is infected", ""},
	{"classification.type", "malware-configuration", nothing, "is of what malware is told, and of no host that is infected", ""},
	{"classification.type", "blacklist", nothing, "is of an address that others have listed", ""},
	{"classification.type", "blocklist", nothing, "is of an address that others have listed", ""},
	{"classification.type", "copyright", nothing, "is of no infection", ""},
	{"classification.type", "harmful-speech", nothing, "is of no infection", ""},
	{"classification.type", "violence", nothing, "is of no infection", ""},
	{"classification.type", "outage", nothing, "is of no infection", ""},
	{"classification.type", "tor", nothing, "is of no infection", ""},
}
