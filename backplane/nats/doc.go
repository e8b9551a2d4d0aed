// Package nats carries what an engine publishes to the engines on other machines, by way of NATS servers (nats.io):
//
//	b, err := nats.New("nats://10.0.0.7:4222,nats://10.0.0.8:4222")
//	e, err := engine.New(engine.WithBackplane(b))
//
// # Subjects
//
// A topic is a core NATS subject: the prefix ("zeroframe", WithPrefix), "t", and the topic's name as one token. In it
// letters, digits and most signs stand for themselves, any other byte is "=" and two hexadecimal digits, and a name that
// would be longer that way than in base64 is "==" and its base64url: whatever a name has in it, it is that topic exactly
// and no other subject. Room/42 is zeroframe.t.Room/42. An engine subscribes to the subject while the topic has members
// there. It needs the permission to publish and to subscribe to the prefix and everything below it; whoever else has that
// can publish to your users.
//
// # Messages
//
// A message is a version (1), a kind (1 text, 2 binary), the 8 bytes that the sending engine chose at random when it
// started, and the payload. An engine ignores its own and those of other versions, which it counts as dropped. Payloads
// may be 10 bytes shorter than the server's max_payload, 1 MiB by default.
//
// # What gets lost
//
// Members on the publishing engine are served first and whatever happens to the network. Between engines a message is
// delivered at most once, in the order of its publisher. It is lost for another engine
//   - when that engine has no connection just then, or loses it before the message has come through;
//   - when the publisher's connection breaks, and the message was in the buffers of either kernel;
//   - when the publisher has no connection and WithBuffer's bytes are full. Otherwise it waits there and is sent
//     afterwards: to those who have a connection by then;
//   - in the first moments of a topic there, until the server knows of the subscription;
//   - when that engine is so far behind that 8192 messages wait in it, or the server cuts it off as a slow consumer.
//
// What was dropped on this side is counted in engine.BackplaneStatus; what the network lost nobody counts.
//
// JetStream, NATS's persistence, is not used. A stream over prefix.t.> would keep messages on the servers' disks; each
// engine would follow it with a consumer and go on after a break where it stopped, so that a message would come at least
// once, and sequence numbers would tell what came twice. The price is an acknowledgement awaited for each message or
// batch, disks, a quorum of three servers for it to be worth having, and consumers whose filters change with each topic
// that comes or goes, or that bring everything everywhere. A connection that breaks loses messages of its own at the same
// time, and no backplane knows which: an application that must not lose any numbers its messages, keeps them, and lets
// clients ask for what they missed. It needs no JetStream here then.
//
// # Presence
//
// Each engine tells the others how many members its topics have: changes are put together and sent once a second, a
// heartbeat every five, WithPresence. Elsewhere is behind by that and the network, and right once nothing changes any
// more. Each message is numbered; who finds one missing, or starts, asks the sender for everything. An engine that ends
// says so; one that dies is counted for 15 s more. While this engine has no connection, what it knew before stays.
// An engine that is counted for a topic is subscribed to it at its server.
//
// It costs a message of 11 bytes per engine and 5 s at rest; name and 2 to 6 bytes for each topic whose number changed in a
// second, sent to every engine; and in every engine about 50 bytes and the name for each topic that it has told, and for
// each of each other engine.
//
// # Goroutines
//
// Two of this package, and those of the NATS client, however many topics there are. The client is called on one of them
// alone, since a call of its can take as long as connecting does. A topic with members costs about 400 bytes.
package nats
