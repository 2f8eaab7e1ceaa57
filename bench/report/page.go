package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"strings"

	"github.com/sallyport/sallyport/bench/report/chart"
)

//go:embed page.css
var pageStyle string

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"plain": plain, "lower": strings.ToLower}).Parse(pageText))

// frame is what every page has: its title, its style and what it may do.
type frame struct {
	Title  string
	Policy string
	Style  template.CSS
}

func newFrame(title string) frame {
	sum := sha256.Sum256([]byte(pageStyle))
	return frame{
		Title: title,
		// The one style sheet is named by its hash: what slips in beside it is not applied.
		Policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src data:; base-uri 'none'; form-action 'none'",
		Style: template.CSS(pageStyle),
	}
}

// page is what the template shows.
type page struct {
	frame
	Kind, Imprint, Command string
	Endpoints              []key
	Void                   []cause
	Marks                  []string
	Voided                 string // by how many of its rounds
	Verdict                verdict
	Objectives             []objective
	Confidence             string
	Doubtful               bool // too few rounds
	Figures, Further       figureTable
	Latencies              []latency
	Courses                []*multiple
	Machines               []machine
	Failures               failures
	Rounds                 []roundRow
	MoreRounds             int
	Handshakes             string
	Limits                 []cause
	Sizing                 []sizeRow
	Knees                  []knee
	KneeCurve              *multiple
	Hosts                  []hostView
	Advice                 []advice
	Calibration            [][3]string
	Single                 bool // one endpoint: charts stand side by side
}

// Sections are the anchors of what the page has.
func (p page) Sections() []string {
	var out []string
	for _, s := range []struct {
		name string
		is   bool
	}{
		{"objectives", len(p.Objectives) > 0}, {"figures", true}, {"limits", len(p.Limits) > 0}, {"latency", len(p.Latencies) > 0},
		{"course", len(p.Courses)+len(p.Machines) > 0}, {"failures", true}, {"sizing", len(p.Sizing) > 0}, {"knee", len(p.Knees) > 0},
		{"rounds", len(p.Rounds) > 0}, {"advice", len(p.Advice) > 0}, {"hosts", len(p.Hosts) > 0},
		{"calibration", len(p.Calibration) > 0}, {"command", true},
	} {
		if s.is {
			out = append(out, s.name)
		}
	}
	return out
}

type cause struct {
	What, Says string
	Evidence   []string
}

type objective struct {
	Endpoint, Objective, Value string
	Tone                       int
	Met                        bool
}

type sizeRow struct{ What, Value, Reckoned string }

type advice struct{ Host, Interface, Finding, Why, Command string }

// WritePage writes the report as one HTML file. It has no script, asks the network
// for nothing and forbids itself both.
func (r *Report) WritePage(w io.Writer) error {
	return pageTemplate.ExecuteTemplate(w, "page", r.page())
}

func (r *Report) page() page {
	outcomes := r.outcomes()
	p := page{
		frame:      newFrame(r.title() + " · Sallyport benchmark"),
		Kind:       capital(plain(r.Plan.Scenario.Kind)),
		Imprint:    r.imprint(),
		Command:    shellLine(r.Command),
		Marks:      plainAll(r.Marks),
		Voided:     r.voided(),
		Verdict:    r.verdict(outcomes),
		Confidence: r.confidence(),
		Doubtful:   r.most() < Enough,
		Latencies:  r.latencies(outcomes),
		Courses:    r.courses(outcomes),
		Machines:   r.machines(outcomes),
		Failures:   failuresOf(outcomes),
		Rounds:     r.roundRows(),
		MoreRounds: max(0, len(r.Rounds)-shownRounds),
		Handshakes: handshakes(outcomes),
		Knees:      r.knees(),
		KneeCurve:  r.kneeCurve(outcomes),
		Hosts:      r.hosts(),
		Single:     len(outcomes) == 1,
	}
	p.Figures, p.Further = r.figureTable().part()
	for i, name := range r.Endpoints {
		tone, dash := endpointTone(i)
		p.Endpoints = append(p.Endpoints, key{Name: plain(name), Tone: tone, Dash: dash})
	}
	for _, c := range r.Void {
		p.Void = append(p.Void, cause{What: plain(c.What), Says: plain(c.Says), Evidence: plainAll(c.Evidence)})
	}
	r.conclude(&p)
	return p
}

// conclude fills in what the report makes of what it saw.
func (r *Report) conclude(p *page) {
	for _, v := range r.Verdicts {
		p.Objectives = append(p.Objectives, objective{Endpoint: plain(v.Endpoint), Tone: r.toneOf(v.Endpoint),
			Objective: plain(v.Objective), Value: quantity(v.Value, v.Unit), Met: v.Met})
	}
	for _, l := range r.Limits {
		p.Limits = append(p.Limits, cause{What: plain(l.Endpoint) + ": " + resource(l.Resource), Says: plain(l.Says), Evidence: plainAll(l.Evidence)})
	}
	for _, s := range r.Sizing {
		p.Sizing = append(p.Sizing, sizeRow{What: plain(s.What), Value: significant(s.Value, 4), Reckoned: plain(s.Reckoned)})
	}
	for _, c := range r.Calibration {
		p.Calibration = append(p.Calibration, [3]string{plain(c.Name), quantity(c.Value, c.Unit), plain(c.Says)})
	}
	for i := range r.Hosts {
		for _, a := range r.Hosts[i].Advice {
			p.Advice = append(p.Advice, advice{Host: plain(r.Hosts[i].Role), Interface: plain(a.Interface),
				Finding: plain(a.Finding), Why: plain(a.Why), Command: plain(a.Command)})
		}
	}
}

// resource is a limit's resource in words.
func resource(name string) string {
	switch name {
	case "schedule":
		return "not at its limit"
	case "", "unknown":
		return "limit not known"
	}
	return plain(name)
}

// Strip shows the rounds one by one.
func (row figureRow) Strip() template.HTML {
	s := chart.Strip{Title: row.Name + ", round by round"}
	for i, f := range row.Figures {
		if f != nil {
			tone, _ := endpointTone(i)
			s.Rows = append(s.Rows, chart.Row{Tone: tone, Values: f.Rounds, Median: f.Median})
		}
	}
	return svg(s)
}
