package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

const (
	// rehearsedRate is the least that a generator is tried with.
	rehearsedRate = 1000
	// directRate is of the direct run: enough for a percentile, little enough for any host.
	directRate    = 100
	directStreams = 8
)

// calibrate finds out what the bench itself can do here: the generator without a load,
// and the way to the sink without an endpoint. None of it keeps a run from going on;
// what is bad is marked.
func (r *run) calibrate(ctx context.Context) error {
	r.say("calibrating: the generator alone", 0)
	for _, c := range r.cast.clients {
		if err := r.rehearse(ctx, c); err != nil {
			return err
		}
	}
	r.say("calibrating: the way to the sink, without an endpoint", time.Duration(len(r.cast.clients))*r.Calibrate)
	setup := load.Default(load.Setup)
	setup.Rate, setup.Ramp, setup.Sustain, setup.Down = directRate, 0, r.Calibrate, 0
	result, err := r.directly(ctx, setup)
	if err != nil {
		return err
	}
	for _, o := range result.Operations {
		if o.Latency.Count() == 0 {
			continue
		}
		what := "p99"
		took, known := o.Latency.Percentile(0.99)
		if !known {
			what, took = "the longest", o.Latency.Max()
		}
		r.calibrated("direct run, "+o.Name, milliseconds(took), "ms",
			fmt.Sprintf("%s of %d without an endpoint, %d a second; p50 %s", what, o.Latency.Count(), directRate, ms(o.Latency.Quantile(0.5))))
	}
	r.say("calibrating: what the line carries", r.Calibrate)
	bulk := load.Default(load.Bulk)
	bulk.Streams, bulk.Ramp, bulk.Sustain, bulk.Down = directStreams, 0, r.Calibrate, 0
	if result, err = r.directly(ctx, bulk); err != nil {
		return err
	}
	if result.Down > 0 && result.Sustain > 0 {
		r.calibrated("line rate", 8*float64(result.Down)/result.Sustain.Seconds()/1e6, "Mbit/s",
			fmt.Sprintf("bodies of %d streams from the sink, without an endpoint", directStreams))
	}
	r.say("", r.Calibrate)
	return nil
}

// rehearse tries the schedule on one client, with operations that do nothing.
func (r *run) rehearse(ctx context.Context, c *member) error {
	asked := max(rehearsedRate, r.Scenario.Rate/float64(len(r.cast.clients)))
	var heard rehearsed
	err := c.party.call(ctx, callRehearse, rehearsal{asked, r.Calibrate}, &heard, nil)
	if err != nil {
		return err
	}
	r.calibrated("generator alone, "+c.party.role, heard.Rate, "/s",
		fmt.Sprintf("%.4g a second asked of operations that do nothing; slip p99 %s, longest %s", asked, ms(heard.P99), ms(heard.Max)))
	switch {
	case heard.Rate < begunLeast*asked:
		r.mark(fmt.Sprintf("%s cannot keep up even without a load: it began %.4g of %.4g operations a second", c.party.role, heard.Rate, asked))
	case heard.P99 > slipLeast:
		r.mark(fmt.Sprintf("%s slips even without a load: one operation in a hundred begins %s late or later", c.party.role, ms(heard.P99)))
	}
	return nil
}

// directly does a scenario without an endpoint. Clients that cannot reach the service
// that way, because only the gateway may, are no error: it is marked.
func (r *run) directly(ctx context.Context, s load.Scenario) (load.Result, error) {
	plan := r.plan(load.Endpoint{Name: "direct", Way: "tcp", Address: r.direct}, s, r.direct)
	plan.Patience = 5 * time.Second
	plan.Begin = time.Now().Add(lead / 5) // who begins late is no matter here
	result, err := r.load(ctx, plan)
	if cause := context.Cause(ctx); cause != nil {
		return result, cause
	}
	var gone *goneError
	if errors.As(err, &gone) {
		return result, err
	}
	if err != nil || result.Failed > result.Done {
		r.mark("no direct run: the clients do not reach the sink's service at " + r.direct + " without an endpoint")
		return load.Result{}, nil
	}
	return result, nil
}

func (r *run) calibrated(name string, value float64, unit, says string) {
	r.report.Calibration = append(r.report.Calibration, report.Calibration{Name: name, Value: value, Unit: unit, Says: says})
}
