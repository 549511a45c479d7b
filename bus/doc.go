// Package bus carries messages between services: commands, which one receiver
// handles, and events, of which each group of receivers gets one copy.
//
// A [Bus] is made by the package of its transport, such as bus/membus, and is
// the same for all of them: send and publish, listen and subscribe, and look
// after dead letters. A message is acknowledged only after its handler's effect
// is durable; what fails for a while is delivered again, what fails for good is
// set aside with its reason. [Features] says what a transport keeps in order
// and what survives its restart.
//
// A third party adds a transport by implementing [Transport]; package bustest
// holds the suite that it must pass.
package bus
