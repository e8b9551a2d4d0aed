package nats

import "time"

// presence is what engines tell each other about members: this one's teller and hearer. The link speaks for it.
type presence struct {
	*teller
	*hearer
	subjects *subjects
	every    time.Duration
	waited   bool // another engine waits for a sign of life
}

func newPresence(id engineID, subjects *subjects, every, forget time.Duration) *presence {
	return &presence{
		teller:   newTeller(id, subjects.presence, every, forget),
		hearer:   newHearer(every, forget),
		subjects: subjects,
		every:    every,
	}
}

// speak says what the others wait for.
func (p *presence) speak(now time.Time, send send) {
	p.forgetSilent(now)
	if !p.changes(now, send) {
		return
	}
	asking, asked, greeted := p.work()
	p.waited = p.waited || greeted
	if p.quiet(now) || p.waited && now.Sub(p.spoke) >= p.every {
		p.waited = false
		p.say(kindAlive, p.subjects.presence, now, send)
	}
	for _, id := range asking {
		p.say(kindAsk, p.subjects.of(id), now, send)
	}
	for _, id := range asked {
		p.snapshot(p.subjects.of(id), send)
	}
}

// hello greets the others on a new connection.
func (p *presence) hello(now time.Time, send send) {
	p.renew(now)
	p.say(kindHello, p.subjects.presence, now, send)
}

// bye takes leave of them for good.
func (p *presence) bye(now time.Time, send send) { p.say(kindBye, p.subjects.presence, now, send) }
