// Package chart draws small charts as SVG: lines, bands, steps, stacked areas and
// stacked bars, with ticks at round numbers. It knows nothing of what is drawn.
//
// A drawing stands inline in a page and brings no colours, fonts or scripts of its
// own: shapes carry classes, the page's style sheet says what these look like, and
// so the same drawing serves light and dark, screen and paper.
//
//	grid axis tick rule rule-label shade label   the frame and its texts
//	line band area bar dot median                what is drawn, each with
//	c0 … c9                                      its tone; d0 … d3 its dashes
//
// Titles and legends are text and therefore the page's: they wrap there, where SVG
// text would not. A drawing only carries its title for those who cannot see it.
//
// All texts are escaped. Points that are not finite are left out, and a chart
// without any says so instead of showing an empty frame.
package chart
