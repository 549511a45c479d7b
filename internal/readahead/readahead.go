package readahead

// Page is a part of what is read.
type Page[T any] struct {
	Items []T
	Last  bool // no page follows
}

// Yield yields the items of first and of the pages behind it, until yield returns
// false or there is an error, which is the last thing yielded: one of next, or of
// ended, which is asked before each page. The next page is read while the caller has
// the one before: next is called on another goroutine, but never twice at once,
// and not after Yield has returned.
func Yield[T any](first Page[T], next func() (Page[T], error), ended func() error, yield func(T, error) bool) {
	type result struct {
		page Page[T]
		err  error
	}
	var ahead chan result // nil if nothing is being read
	defer func() {
		if ahead != nil {
			<-ahead
		}
	}()
	for page := first; ; {
		if err := ended(); err != nil {
			var none T
			yield(none, err)
			return
		}
		if !page.Last {
			reading := make(chan result, 1)
			ahead = reading
			go func() {
				page, err := next()
				reading <- result{page, err}
			}()
		}
		for i := range page.Items {
			if !yield(page.Items[i], nil) {
				return
			}
		}
		if ahead == nil {
			return
		}
		got := <-ahead
		if ahead = nil; got.err != nil {
			var none T
			yield(none, got.err)
			return
		}
		page = got.page
	}
}
