package aggregate

// Applier is the payload of an event of A that changes the state itself: an
// event written by hand. Apply is a mutator as in [On]: it runs when the event
// is recorded and at each replay, so it must do nothing but change a.
type Applier[A any] interface{ Apply(a *A) }

// Applies declares the event called name whose payload E applies itself; record
// it with [Spec.Record]. Options as for [On].
func Applies[A any, E Applier[A]](name string) *Event[A, E] {
	return On(name, func(a *A, e E) { e.Apply(a) })
}

// Record records that payload, which names its event by its type, happened to
// a. See [Event.Record].
//
// Errors: those of [Event.Record]; [ErrInvalid] for a payload that is not one
// of an event of A, or of several.
func (s *Spec[A]) Record(a *A, payload any) error {
	def, err := s.payload(payload)
	if err != nil {
		return err
	}
	return def.record(a, payload)
}
