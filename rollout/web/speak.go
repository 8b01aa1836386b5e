package web

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"wavelock/rollout"
)

// Word is what a person says to a campaign.
type Word struct {
	Kind rollout.EventKind
	Wave int    // of an approval: 0 is the plan
	Hash string // of the plan as the page showed it
	Why  string
	// Ticket is the change ticket of an approval.
	Ticket string
	From   string // address that it came from
	By     string // name of the account
}

// Speaker carries a person's word to a campaign's journal. A campaign that cannot
// take it is a *RefusedError.
type Speaker interface {
	Say(ctx context.Context, id rollout.CampaignID, w Word) error
}

// RefusedError is a word that a campaign cannot take now.
type RefusedError struct{ Why, Hint string }

func (e *RefusedError) Error() string { return e.Why }

var wordKinds = map[string]rollout.EventKind{"pause": rollout.EvPaused, "resume": rollout.EvResumed, "approve": rollout.EvApproved,
	"abort": rollout.EvAborted, "rollback": rollout.EvRollback}

var saidText = map[string]string{"pause": "The campaign is paused.", "resume": "The campaign goes on.", "approve": "Approved.",
	"abort": "The campaign is aborted; hosts that failed are put back.", "rollback": "Every host that the campaign touched is put back."}

// wordForm is a button with what it asks for.
type wordForm struct {
	Word, Title, Text string
	Danger            bool // the campaign's name has to be typed
	Wave              int
	Hash              string
}

// wordsFor are the words that the person may say and the campaign can take.
func wordsFor(p Person, c Campaign) []wordForm {
	var list []wordForm
	add := func(ok bool, f wordForm) {
		if ok && p.May(f.Word) {
			f.Hash = c.Hash
			list = append(list, f)
		}
	}
	over, held := c.Status == "finished", c.Status == "paused"
	going := !over && c.Status != "aborting" && c.Status != "rolling back"
	add(going && (c.Approved == "" || c.Expired), wordForm{Word: "approve", Title: "Approve the plan", Text: "You approve the plan " + short(c.Hash) + " for " + plural(c.Hosts, "computer") + ". A plan that differs in anything is refused."})
	add(going && !held, wordForm{Word: "pause", Title: "Pause", Text: "Nothing new is started. What is in flight ends, and hosts that failed are still put back."})
	add(held || c.Status == "halted", wordForm{Word: "resume", Title: "Resume", Text: "The campaign goes on. A wave that was halted stays as it is: its hosts are left for another plan."})
	add(going, wordForm{Word: "abort", Title: "Abort", Danger: true, Text: "The campaign ends where it is. Hosts that failed are put back; hosts that passed stay."})
	add(c.Status != "rolling back" && c.Approved != "", wordForm{Word: "rollback", Title: "Roll back", Danger: true, Text: "Every host that the campaign touched is put back to its before-image: HTTP is opened again."})
	return list
}

// waveWord is the approval that a wave waits for, for those who may give it. Who approved the plan may be barred.
func waveWord(p Person, c Campaign, card waveCard) (form *wordForm, barred bool) {
	if card.Asks.Waits == "" || card.Status != rollout.WaveWaiting || !p.May("approve") || c.Approved == "" {
		return nil, false
	}
	if c.SecondPerson && rollout.SamePerson(p.Name, c.Approved) {
		return nil, true
	}
	return &wordForm{Word: "approve", Title: fmt.Sprintf("Approve wave %d", card.Number), Wave: card.Number, Hash: c.Hash,
		Text: fmt.Sprintf("You approve wave %d with %s.", card.Number, plural(card.Hosts, "computer"))}, false
}

func (s *server) sameToken(r *http.Request, v *visitor) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostFormValue("token")), []byte(v.token)) == 1
}

// speak takes a form that says a word.
func (s *server) speak(w http.ResponseWriter, r *http.Request) {
	id, name := rollout.CampaignID(r.PathValue("id")), r.PathValue("word")
	kind, known := wordKinds[name]
	v := visitorOf(r)
	log := s.Log.With("campaign", id, "word", name, "from", r.RemoteAddr)
	switch {
	case !known:
		s.fail(w, r, &NotFoundError{"That word"})
		return
	case v == nil || s.Speaker == nil:
		log.Warn("an action was refused: this dashboard only reads")
		s.problem(w, r, http.StatusForbidden, "This dashboard only reads.", "Set up accounts in the configuration, or use the command line.")
		return
	case !s.sameToken(r, v):
		log.Warn("an action was refused: the form is not of the session", "by", v.person.Name)
		s.refused(r, v.person.Name, "the form is not of the session")
		s.problem(w, r, http.StatusForbidden, "This form is not of your session.", "Open the page again and try once more.")
		return
	case !v.person.May(name):
		log.Warn("an action was refused: the role does not allow it", "by", v.person.Name, "roles", v.person.Roles)
		s.refused(r, v.person.Name, "the roles do not allow it: "+rolesText(v.person.Roles))
		s.problem(w, r, http.StatusForbidden, "Your role does not allow this.", "Ask somebody who may: an operator pauses, resumes, aborts and rolls back; an approver approves.")
		return
	}
	word, err := parseWord(r, id, name, kind, v.person)
	if err == nil {
		err = s.Speaker.Say(r.Context(), id, word)
	}
	s.answerWord(w, r, id, name, v.person, err)
}

func parseWord(r *http.Request, id rollout.CampaignID, name string, kind rollout.EventKind, p Person) (Word, error) {
	word := Word{Kind: kind, Hash: r.PostFormValue("hash"), Why: oneLine(r.PostFormValue("why")), By: p.Name, From: addressOf(r)}
	if kind == rollout.EvApproved {
		word.Ticket = oneLine(r.PostFormValue("ticket"))
	}
	if n := r.PostFormValue("wave"); n != "" {
		wave, err := strconv.Atoi(n)
		if err != nil || wave < 0 || wave > 1<<16 {
			return word, &RefusedError{Why: "That is no wave."}
		}
		word.Wave = wave
	}
	if danger := name == "abort" || name == "rollback"; danger && r.PostFormValue("confirm") != string(id) {
		return word, &RefusedError{Why: "The campaign's name was not typed, so nothing was done.", Hint: "Type " + string(id) + " to confirm."}
	}
	return word, nil
}

// oneLine keeps a reason to what a journal's line can show.
func oneLine(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?")))
	if r := []rune(s); len(r) > 500 {
		return string(r[:500])
	}
	return s
}

func (s *server) answerWord(w http.ResponseWriter, r *http.Request, id rollout.CampaignID, name string, p Person, err error) {
	log := s.Log.With("campaign", id, "word", name, "by", p.Name, "from", r.RemoteAddr)
	var refused *RefusedError
	switch {
	case err == nil:
		log.Info("a person spoke")
		http.Redirect(w, r, with(nil, "/campaign/"+url.PathEscape(string(id)), "said", name), http.StatusSeeOther)
	case errors.As(err, &refused):
		log.Info("a campaign could not take a word", "why", refused.Why)
		s.showCampaign(w, r, http.StatusConflict, "", strings.TrimSpace(refused.Why+" "+refused.Hint))
	default:
		log.Error("say a word to a campaign", "err", err)
		s.fail(w, r, err)
	}
}
