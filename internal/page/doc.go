// Package page is the read-only status page: what the daemon knows, as HTML
// that a browser keeps up to date by itself.
//
// The server renders everything, once for all who look at the same: the page
// is whole without JavaScript. With it, the browser holds one stream open on
// which it gets the sections that changed, as HTML again, and puts them in the
// place of the old ones. So there is one place that turns names into markup,
// html/template, and none in the browser.
//
// Nothing is kept but what is looked at: leases are read pool by pool when
// somebody looks and something changed, and only counts of them stay.
package page
