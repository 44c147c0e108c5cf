package oracle

// workOutLabels gives every object of a request its label, before any of them is decided about.
func (o *Oracle) workOutLabels(request []*item) {
	type found struct {
		label  int
		stands bool
	}
	standing := map[string]found{}
	for _, it := range request {
		if it.label = it.own; it.own == none {
			it.label = o.contextOf(it)
		}
		if it.label == none {
			it.label = o.config.Collections[it.collection].Floor
		}
		for ref := range it.refs {
			label, stands := o.countsStanding(it, ref)
			standing[ref] = found{label, stands}
		}
	}
	for again := true; again; { // labels only rise, so this ends
		again = false
		for _, it := range request {
			for ref := range it.refs {
				raise := max(standing[ref].label, countsInRequest(request, it, ref, standing[ref].stands))
				if raise > it.label {
					it.label, again = raise, true
				}
			}
		}
	}
}

// countsInRequest is what a referred object counts for by its copies in the same request.
func countsInRequest(request []*item, asking *item, ref string, stands bool) int {
	highest := none
	for _, it := range versions(request, ref) {
		label := it.label
		switch {
		case it.own == none && silent(it):
			continue
		case it.own == none && it.observable && stands:
			continue // it counts by what refers to it where it stands
		case it.own == none && it.observable:
			if low, exists := lowestReferrer(request, ref, asking.id); exists {
				label = low
			}
		}
		highest = max(highest, label)
	}
	return highest
}

// countsStanding is what a referred object counts for by what the member may see of what stands: here, or else at its lowest elsewhere.
func (o *Oracle) countsStanding(asking *item, ref string) (label int, stands bool) {
	if label, stands = countsIn(o.visible(asking.member, asking.collection), ref); stands {
		return label, true
	}
	for name := range o.config.Collections {
		if o.reads(asking.member, name) {
			if there, exists := countsIn(o.standing[name], ref); exists && (!stands || there < label) {
				label, stands = there, true
			}
		}
	}
	return label, stands
}

// countsIn is what a referred object counts for among these.
func countsIn(items []*item, ref string) (label int, stands bool) {
	it := newest(versions(items, ref))
	switch {
	case it == nil:
		return none, false
	case it.own == none && silent(it):
		return none, true
	case it.own == none && it.observable:
		if low, exists := lowestReferrer(items, ref, ""); exists {
			return low, true
		}
	}
	return it.label, true
}

// lowestReferrer is the lowest label of what refers to the object, newest versions only, leaving out the object that asks.
func lowestReferrer(items []*item, ref, asking string) (label int, exists bool) {
	latest := map[string]*item{}
	for _, it := range items {
		other := latest[it.id]
		if other == nil || it.version.After(other.version) || it.version.Equal(other.version) && it.label > other.label {
			latest[it.id] = it
		}
	}
	for _, it := range latest {
		if it.id != asking && it.refs[ref] && (!exists || it.label < label) {
			label, exists = it.label, true
		}
	}
	return label, exists
}
