// Package torture holds tests of the whole, in processes that are killed at
// random: a command's event and message are committed as one, the message goes
// through a broker that is restarted, and has its effect on another journal once.
package torture
