// Package ext stands for a module in a folder of Traefik's repository that its Go module leaves out. Traefik's own
// configuration embeds these types; other editions have fields in them, the open one has none.
package ext

// HTTP is embedded in the configuration of HTTP.
type HTTP struct{}

// Router is embedded in the configuration of a router.
type Router struct{}
