// Package report is the record of a benchmark, and what people read of it.
//
// A Report holds everything that was asked, seen and concluded. It has one form that
// is kept and three that are read:
//
//	              ┌── WriteJSON ──► the record, and Read brings it back
//	Report ───────┼── WriteSummary ► a terminal: the verdict first, at most 40 lines
//	              └── WritePage ───► one HTML file, which needs no network and no script
//	two Reports ──── Diff ─────────► what changed, as text and as a page
//
// All that is read is made of the Report alone, so a page can be drawn again years
// later from the JSON, on a machine that never saw the benchmark.
//
// # Not to flatter
//
// What stands in the way of believing a figure comes before the figure: why it is
// void, what marks it bears, how few rounds it rests on. A figure is the median of
// its rounds between the smallest and the largest, never the best of them. Fewer than
// Enough rounds are said to be too few to judge by. Two figures whose ranges overlap
// are within noise, whatever their medians; and two reports that did not ask the same
// question are not judged against each other at all.
//
// The course of a run is drawn of all rounds that count: a line is the median of a
// moment, the band about it reaches from the lowest to the highest round, and what
// is stacked is the mean. Ramps are shaded; nothing of them counts.
//
// # Hostile texts
//
// A report is made of what other hosts sent: names of interfaces, of hosts, texts of
// errors. On a terminal they must not move the cursor, on a page they must not
// become markup, in either they must not turn the direction of writing. They are
// bounded, and control and bidirectional characters in them are shown as escapes;
// the page forbids itself all scripts and all network by a policy of its own.
package report
