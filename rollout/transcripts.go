package rollout

import (
	"fmt"
	"slices"
	"strings"
)

// Share is the list of who may do what through one share of a file server. The folder behind it has a list of its own,
// which is not read.
type Share struct {
	Name   string  `json:"name"`
	Open   bool    `json:"open,omitempty"` // there is no list: everybody may do everything
	Grants []Grant `json:"grants,omitempty"`
	Why    string  `json:"why,omitempty"` // why the list could not be read
}

// Grant is one entry of the list, in its order, which counts ([MS-DTYP] 2.4.4).
type Grant struct {
	SID  string `json:"sid"`
	Mask uint32 `json:"mask"`
	Deny bool   `json:"deny,omitempty"`
}

// The rights to a file that a share can give, [MS-DTYP] 2.4.3 and [MS-SMB2] 2.2.13.1.
const (
	fileWriteData   = 0x00000002
	fileDeleteChild = 0x00000040
	fileDelete      = 0x00010000
	fileWriteDAC    = 0x00040000
	fileWriteOwner  = 0x00080000
	fileGenericAll  = 0x10000000
	fileGenericWr   = 0x40000000

	// Who has these, which only Full Control gives, makes his own rights.
	rightsOfRights = fileWriteDAC | fileWriteOwner | fileGenericAll
	rightsToChange = fileWriteData | fileDeleteChild | fileDelete | fileGenericWr
)

// crowds are the SIDs that mean more or less everybody, [MS-DTYP] 2.4.2.4; those of a domain by their last number.
var (
	crowds = map[string]string{"S-1-1-0": "Everyone", "S-1-5-7": "Anonymous", "S-1-5-11": "Authenticated Users", "S-1-5-2": "Network", "S-1-5-4": "Interactive",
		"S-1-5-32-545": "Users", "S-1-5-32-546": "Guests", "S-1-3-0": "Creator Owner"}
	domainCrowds = map[string]string{"513": "Domain Users", "514": "Domain Guests", "515": "Domain Computers"}
	// administrators are those who can take every right anyway: a domain's by their last number.
	localAdministrators  = []string{"S-1-5-18", "S-1-5-32-544"}
	domainAdministrators = []string{"500", "512", "519"}
)

// crowdOf names a crowd; "" for anybody else.
func crowdOf(sid string) string {
	if name := crowds[sid]; name != "" || !strings.HasPrefix(sid, "S-1-5-21-") {
		return name
	}
	return domainCrowds[sid[strings.LastIndexByte(sid, '-')+1:]]
}

func isAdministrator(sid string) bool {
	return slices.Contains(localAdministrators, sid) ||
		strings.HasPrefix(sid, "S-1-5-21-") && slices.Contains(domainAdministrators, sid[strings.LastIndexByte(sid, '-')+1:])
}

// rights are what the share gives to a SID by its own entries, less what entries before them deny it or Everyone.
func (s Share) rights(sid string) (mask uint32) {
	var denied uint32
	for _, g := range s.Grants {
		switch {
		case g.Deny && (g.SID == sid || g.SID == "S-1-1-0"):
			denied |= g.Mask
		case !g.Deny && g.SID == sid:
			mask |= g.Mask &^ denied
		}
	}
	return mask
}

// ShareVerdict says if a share by itself keeps others than administrators from deleting and changing what is there.
type ShareVerdict struct {
	Name   string       `json:"name"`
	State  PostureState `json:"state"`
	Detail string       `json:"-"` // lists need the state alone, for each of 100,000 hosts
}

// judge is ok where the share gives nobody else more than to read and to append, and bad where it gives a crowd Full
// Control: who writes a file owns it, and may then give himself the right to delete it, [MS-DTYP] 2.5.3.2, unless the
// folder's list has OWNER RIGHTS. Between them the folder's list decides.
func (s Share) judge() ShareVerdict {
	v := ShareVerdict{s.Name, PostureUnknown, ""}
	switch {
	case s.Why != "":
		v.Detail = "the share's list could not be read: " + s.Why
		return v
	case s.Open:
		v.State, v.Detail = PostureBad, "the share has no list: everybody may do everything that the folder's list allows, which was not read"
		return v
	}
	var full, change, named []string
	for _, g := range s.Grants {
		name, mask := crowdOf(g.SID), s.rights(g.SID)
		switch {
		case g.Deny || isAdministrator(g.SID) || mask&(rightsOfRights|rightsToChange) == 0:
		case name == "":
			named = append(named, g.SID)
		case mask&rightsOfRights != 0:
			full = append(full, name)
		default:
			change = append(change, name)
		}
	}
	switch {
	case len(full) > 0:
		v.State, v.Detail = PostureBad, "the share gives Full Control to "+listed(full)+": who writes a transcript owns it and can take the right to delete it; the folder's own list was not read"
	case len(change) > 0:
		v.Detail = "the share does not prevent it, " + listed(change) + " may change and delete as far as the folder's list allows, which was not read"
	case len(named) > 0:
		v.Detail = "the share does not prevent it for " + listed(named) + ", as far as the folder's list allows; how many they are, and that list, were not read"
	default:
		v.State, v.Detail = PostureOK, "the share lets nobody but administrators change or delete"
	}
	return v
}

// listed is every name once, in the order of the list.
func listed(names []string) string {
	var once []string
	for _, n := range names {
		if !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	return strings.Join(once, ", ")
}

func judgeShares(shares []Share) []ShareVerdict {
	var all []ShareVerdict
	for _, s := range shares {
		all = append(all, s.judge())
	}
	return all
}

// transcriptRights says what one observation cannot: who may delete is in the list of the share, on the file server.
func transcriptRights(p Posture) (PostureState, string) {
	if !strings.HasPrefix(p.TranscriptFolder, `\\`) {
		return PostureUnknown, "not judged, because transcripts do not go to a share"
	}
	return PostureUnknown, "not judged, because the file server of " + p.TranscriptFolder + " was not asked"
}

// transcriptShare takes a UNC path apart. A name without dots is looked for in the host's own domain, as Windows does
// first.
func transcriptShare(host HostID, folder string) (server HostID, share string, ok bool) {
	rest, unc := strings.CutPrefix(folder, `\\`)
	if !unc {
		return "", "", false
	}
	if long := `?\unc\`; len(rest) > len(long) && strings.EqualFold(rest[:len(long)], long) {
		rest = rest[len(long):]
	}
	parts := strings.SplitN(strings.ToLower(rest), `\`, 3)
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
		return "", "", false
	}
	name := strings.TrimSuffix(parts[0], ".")
	if _, domain, has := strings.Cut(strings.ToLower(string(host)), "."); has && !strings.Contains(name, ".") {
		name += "." + domain
	}
	return HostID(name), parts[1], true
}

// rightsOnServer is the verdict on the share that a host's transcripts go to. FileServer gives the posture of a
// computer by its full name in lower case, nil where nobody has read it.
func rightsOnServer(host HostID, folder string, fileServer func(HostID) *PostureSummary) (PostureState, string) {
	server, share, ok := transcriptShare(host, folder)
	if !ok {
		return transcriptRights(Posture{TranscriptFolder: folder})
	}
	s := fileServer(server)
	if s == nil {
		return PostureUnknown, fmt.Sprintf("not judged, because %s, where %s is, is no computer of the fleet that was looked at", server, folder)
	}
	i := slices.IndexFunc(s.Shares, func(v ShareVerdict) bool { return strings.EqualFold(v.Name, share) })
	if i < 0 {
		return PostureUnknown, fmt.Sprintf("not judged, because the registry of %s has no list for the share %s", server, share)
	}
	return s.Shares[i].State, folder + ": " + s.Shares[i].Detail
}

const transcriptRightsID = "transcript-rights"

// WithShares judges who may delete a host's transcripts with what was read from their file server. The check has no
// weight, so the score stays. FileServer is asked once at most.
func (v PostureVerdict) WithShares(host HostID, fileServer func(HostID) *PostureSummary) PostureVerdict {
	if v.Transcripts == "" {
		return v
	}
	v.Results = slices.Clone(v.Results)
	for i, r := range v.Results {
		if r.Check == transcriptRightsID {
			v.Results[i].State, v.Results[i].Detail = rightsOnServer(host, v.Transcripts, fileServer)
		}
	}
	return v
}

// JoinShares does the same for a fleet: the elements whose verdict changes are replaced by copies, as others may hold
// the old ones.
func JoinShares(hosts []*Summary) {
	servers := map[HostID]*PostureSummary{}
	for _, h := range hosts {
		if h.Posture != nil {
			servers[HostID(strings.ToLower(string(h.Host)))] = h.Posture
		}
	}
	for i, h := range hosts {
		if h.Posture == nil || h.Posture.Transcripts == "" {
			continue
		}
		state, _ := rightsOnServer(h.Host, h.Posture.Transcripts, func(id HostID) *PostureSummary { return servers[id] })
		if h.Posture.state(transcriptRightsID) == state {
			continue
		}
		changed, posture := *h, *h.Posture
		posture.set(transcriptRightsID, state)
		changed.Posture = &posture
		hosts[i] = &changed
	}
}

// state is how a check came out.
func (s *PostureSummary) state(check string) PostureState {
	switch {
	case slices.Contains(s.Bad, check):
		return PostureBad
	case slices.Contains(s.Unknown, check):
		return PostureUnknown
	}
	return PostureOK
}

// set notes how a check came out, in lists of its own.
func (s *PostureSummary) set(check string, state PostureState) {
	other := func(id string) bool { return id == check }
	s.Bad, s.Unknown = slices.DeleteFunc(slices.Clone(s.Bad), other), slices.DeleteFunc(slices.Clone(s.Unknown), other)
	switch state {
	case PostureBad:
		s.Bad = append(s.Bad, check)
	case PostureUnknown:
		s.Unknown = append(s.Unknown, check)
	}
}
