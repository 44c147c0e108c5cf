package submission

import "testing"

// What is refused is named wherever its id stands.
func TestARefusedObjectIsNamed(t *testing.T) {
	const rest = `"type":"indicator","id":"indicator--28bb3599-77cd-5a82-a950-b5bc3caf07c4","spec_version":"2.1","modified":"2026-01-01T00:00:00Z"}`
	for _, by := range []string{`null`, `1`, `["x"]`, `{"a":"}"}`} {
		var o Outcome
		if _, err := examine([]byte(`{"created_by_ref":`+by+`,`+rest), []string{"2.1"}, &o); err == nil || o.ID == "" || o.Version == "" {
			t.Errorf("%s: %+v %v", by, o, err)
		}
	}
}
