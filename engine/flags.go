package engine

import "sync/atomic"

// connFlags are bits that any goroutine may read; each says who sets it. What holds of them between two callbacks of the
// loop, beside the state:
//
//	upgraded           if and only if open, closing or answering; of an adopted connection before that too
//	sendClosed         the reason of the end is known; always when closing, and when draining behind open
//	writing            fragment, and the connection has a session
//	full, held         reading rests, or mailReading is on its way
//	suspended          reading rests; whoever ends the rest starts the deadlines anew
//	stashed            if and only if there is a stash; somebody who rests reading, or mailReading, has yet to end it
//	pieces, midway     the connection has a session; midway: session.handed bytes of the message are in its queue
//	compressed         deflate, or an extension has the bit
//	deflate, extended, ownRules    for good; rulesInForce says whose rules go before whose
//	spent              never: it lasts for a read
//
// An open connection whose reading rests without one of the reasons would rest for ever. After each turn of a loop the
// tests look at what can be told from the connection alone.
type connFlags struct{ atomic.Uint32 }

const (
	flagUpgraded   uint32 = 1 << iota // from OnOpen, or before the loop knows the connection, to OnClose
	flagSendClosed                    // a close frame is queued: no more output; whoever holds the queue
	flagFragment                      // a fragmented message is being sent; whoever holds the queue
	flagWriting                       // and it is that of a session's writer; whoever holds the queue
	flagPaused                        // Pause, until Resume; anyone
	flagTerminate                     // Terminate was called; anyone
	flagWantDrain                     // OnDrain is owed; anyone
	flagMasking                       // outgoing frames are masked; anyone
	flagFull                          // the queue is above MaxBackpressure, and reading rests; the loop
	flagHeld                          // a session has enough to receive, and reading rests; under the session's mutex
	flagSuspended                     // reading rests, and so does the pong deadline; the loop
	flagStashed                       // rare.stash holds bytes that come before what is read next; the loop
	flagPieces                        // a session's reader takes messages as they come; anyone
	flagMidway                        // it has a part already of the message being received; the loop
	flagOwnRules                      // rare.own.rules replace the route's; the loop
	flagDeflate                       // permessage-deflate was agreed on; before OnOpen
	flagExtended                      // frames pass rare.extensions.list; before OnOpen
	flagCompressed                    // the message being received is compressed; the loop
	flagSpent                         // this read has cost the loop enough, and the rest waits for the next turn; the loop
	// The three bits from windowShift on are a number.

	// notDelivering: frames wait, whoever asked for that.
	notDelivering = flagPaused | flagHeld
	// notReading: the socket is not read either, and what the peer owes us may stand in it.
	notReading = notDelivering | flagFull
)
