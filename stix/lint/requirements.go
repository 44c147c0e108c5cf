package lint

// object says what STIX 2.1 wants of an object type: the section that defines it, the
// properties that it requires besides the common ones, and pairs of times of which the second
// is not before the first.
type object struct {
	section  string
	required []string
	orders   [][2]string
	sco      bool // a cyber-observable object: no created, no modified
	anyOf    []string
}

// types are the object types of STIX 2.1.
var types = map[string]object{
	"attack-pattern":   {section: "4.1", required: []string{"name"}},
	"campaign":         {section: "4.2", required: []string{"name"}, orders: seen},
	"course-of-action": {section: "4.3", required: []string{"name"}},
	"grouping":         {section: "4.4", required: []string{"context", "object_refs"}},
	"identity":         {section: "4.5", required: []string{"name"}},
	"incident":         {section: "4.6", required: []string{"name"}},
	"indicator":        {section: "4.7", required: []string{"pattern", "pattern_type", "valid_from"}, orders: [][2]string{{"valid_from", "valid_until"}}},
	"infrastructure":   {section: "4.8", required: []string{"name"}, orders: seen},
	"intrusion-set":    {section: "4.9", required: []string{"name"}, orders: seen},
	"location":         {section: "4.10", anyOf: []string{"region", "country", "latitude"}},
	"malware":          {section: "4.11", required: []string{"is_family"}, orders: seen},
	"malware-analysis": {section: "4.12", required: []string{"product"}, anyOf: []string{"result", "analysis_sco_refs"}},
	"note":             {section: "4.13", required: []string{"content", "object_refs"}},
	"observed-data": {
		section: "4.14", required: []string{"first_observed", "last_observed", "number_observed"},
		orders: [][2]string{{"first_observed", "last_observed"}}, anyOf: []string{"object_refs", "objects"},
	},
	"opinion":              {section: "4.15", required: []string{"object_refs", "opinion"}},
	"report":               {section: "4.16", required: []string{"name", "object_refs", "published"}},
	"threat-actor":         {section: "4.17", required: []string{"name"}, orders: seen},
	"tool":                 {section: "4.18", required: []string{"name"}},
	"vulnerability":        {section: "4.19", required: []string{"name"}},
	"relationship":         {section: "5.1", required: []string{"relationship_type", "source_ref", "target_ref"}, orders: [][2]string{{"start_time", "stop_time"}}},
	"sighting":             {section: "5.2", required: []string{"sighting_of_ref"}, orders: seen},
	"language-content":     {section: "7.1", required: []string{"object_ref", "contents"}},
	"marking-definition":   {section: "7.2.1"},
	"extension-definition": {section: "7.3", required: []string{"name", "schema", "version", "extension_types", "created_by_ref"}},

	"artifact":             {section: "6.1", sco: true, anyOf: []string{"payload_bin", "url"}},
	"autonomous-system":    {section: "6.2", sco: true, required: []string{"number"}},
	"directory":            {section: "6.3", sco: true, required: []string{"path"}},
	"domain-name":          {section: "6.4", sco: true, required: []string{"value"}},
	"email-addr":           {section: "6.5", sco: true, required: []string{"value"}},
	"email-message":        {section: "6.6", sco: true, required: []string{"is_multipart"}},
	"file":                 {section: "6.7", sco: true, anyOf: []string{"hashes", "name"}},
	"ipv4-addr":            {section: "6.8", sco: true, required: []string{"value"}},
	"ipv6-addr":            {section: "6.9", sco: true, required: []string{"value"}},
	"mac-addr":             {section: "6.10", sco: true, required: []string{"value"}},
	"mutex":                {section: "6.11", sco: true, required: []string{"name"}},
	"network-traffic":      {section: "6.12", sco: true, required: []string{"protocols"}, orders: [][2]string{{"start", "end"}}, anyOf: []string{"src_ref", "dst_ref"}},
	"process":              {section: "6.13", sco: true},
	"software":             {section: "6.14", sco: true, required: []string{"name"}},
	"url":                  {section: "6.15", sco: true, required: []string{"value"}},
	"user-account":         {section: "6.16", sco: true},
	"windows-registry-key": {section: "6.17", sco: true},
	"x509-certificate":     {section: "6.18", sco: true},
}

var seen = [][2]string{{"first_seen", "last_seen"}}

// times are properties that hold a timestamp, of any type.
var times = map[string]bool{
	"created": true, "modified": true, "first_seen": true, "last_seen": true, "valid_from": true, "valid_until": true, "first_observed": true,
	"last_observed": true, "published": true, "start_time": true, "stop_time": true, "start": true, "end": true, "ctime": true, "mtime": true,
	"atime": true, "submitted": true, "analysis_started": true, "analysis_ended": true, "object_modified": true, "created_time": true,
	"account_created": true, "account_expires": true, "credential_last_changed": true, "account_first_login": true, "account_last_login": true,
	"modified_time": true, "validity_not_before": true, "validity_not_after": true,
}

// targets are the types that a reference may be of, where only some are.
var targets = map[string][]string{
	"created_by_ref": {"identity"}, "object_marking_refs": {"marking-definition"}, "where_sighted_refs": {"identity", "location"},
	"observed_data_refs": {"observed-data"}, "marking_ref": {"marking-definition"},
}
