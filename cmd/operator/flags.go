// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// settings are the values of the flags.
type settings struct {
	metricsAddress          string
	metricsSecure           bool
	metricsCertDir          string
	probeAddress            string
	leaderElect             bool
	leaderElectionNamespace string
	clusterID               string
	http2                   bool
	defaultStore            bool
	watchNamespaces         namespaces
	allowedAddresses        addresses
	onDataLoss              string
	storeCheckInterval      time.Duration
	statsInterval           time.Duration
	historyLimit            int
	releaseFinalizers       bool
	version                 bool
	log                     zap.Options
}

// minInterval keeps a mistyped interval from turning into a busy loop.
const minInterval = 100 * time.Millisecond

// environmentHelp lists the variables that registry.ClientFromEnv reads.
const environmentHelp = `
Environment (the Redis for resources without a CacheStore: Redis 7.0 or Valkey 7.2, or later):
  REDIS_HOST, REDIS_PORT          default localhost and 6379
  REDIS_USERNAME, REDIS_PASSWORD  default none
  REDIS_DB                        number of the database, default 0
  REDIS_URL                       redis://user:password@host:port/db, or rediss:// for TLS; takes
                                  precedence over all above
  REDIS_CLUSTER                   true: host and port are one node of a Redis Cluster
  REDIS_TLS                       true: connect with TLS
  REDIS_TLS_CA_FILE               PEM of the authorities to trust instead of the system's
  REDIS_TLS_CERT_FILE, REDIS_TLS_KEY_FILE
                                  PEM of a client certificate and its key
  REDIS_TLS_SERVER_NAME           name to expect in the server's certificate
  KUBECONFIG                      kubeconfig to use without --kubeconfig
`

// parseFlags reads the command line. It returns flag.ErrHelp after --help.
func parseFlags(args []string, output io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("operator", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.Usage = func() {
		fmt.Fprint(output,
			"Keeps CachePolicy resources in force in Redis and carries out CacheInvalidation "+
				"resources.\n\nFlags:\n")
		flags.PrintDefaults()
		fmt.Fprint(output, environmentHelp)
	}
	flags.StringVar(&s.metricsAddress, "metrics-bind-address", ":8443",
		"Address to serve /metrics on. 0 disables it.")
	flags.BoolVar(&s.metricsSecure, "metrics-secure", true,
		"Serve /metrics over HTTPS, to clients that the API server authenticates and allows to get it.")
	flags.StringVar(&s.metricsCertDir, "metrics-cert-dir", "",
		"Directory of tls.crt and tls.key for /metrics. Default: a self-signed certificate.")
	flags.StringVar(&s.probeAddress, "health-probe-bind-address", ":8081",
		"Address to serve /healthz and /readyz on; /readyz/redis says what is wrong. 0 disables it.")
	flags.BoolVar(&s.leaderElect, "leader-elect", false, "Let one replica of several do the work.")
	flags.StringVar(&s.leaderElectionNamespace, "leader-election-namespace", "",
		"Namespace of the lease that replicas compete for. Default: that of the pod. Required outside "+
			"a cluster.")
	flags.StringVar(&s.clusterID, "cluster-id", "",
		"Names this cluster beside each policy in Redis, so that two clusters that share a Redis keep "+
			"each other's policies. Default: the UID of namespace kube-system; with --watch-namespaces, "+
			"of the operator's own namespace.")
	flags.Var(&s.watchNamespaces, "watch-namespaces",
		"Namespaces to manage, `a,b`. The operator reads no others, and needs no permission outside "+
			"these. Default: all.")
	flags.Var(&s.allowedAddresses, "allowed-store-addresses",
		"Addresses that CacheStores may lead to: IP addresses, ranges and host patterns, "+
			"`10.0.0.0/8,*.redis.example.com`. May be repeated. Default: all but link-local and metadata "+
			"addresses, which only an address or a range allows.")
	flags.BoolVar(&s.http2, "enable-http2", false, "Serve /metrics over HTTP/2, too.")
	flags.BoolVar(&s.defaultStore, "default-store", true,
		"Use the Redis of the environment for resources without storeRef. "+
			"With false the environment is not read, and each resource must name a CacheStore.")
	flags.StringVar(&s.onDataLoss, "on-data-loss", string(v1.DataLossInvalidateAll),
		"What to do when the Redis of the environment went back to an older state: InvalidateAll, or "+
			"Replay the purges since. A CacheStore sets it in spec.onDataLoss.")
	flags.DurationVar(&s.storeCheckInterval, "store-check-interval", 5*time.Second,
		"Time between two checks of Redis. A policy that Redis lost is in force again within this time.")
	flags.DurationVar(&s.statsInterval, "stats-interval", time.Minute,
		"Minimum time between two snapshots of statistics in the status of a CachePolicy.")
	flags.IntVar(&s.historyLimit, "invalidation-history-limit", 500,
		"How many finished CacheInvalidations each namespace keeps; the oldest are deleted. "+
			"Those that Argo CD or Flux manages do not count. 0 keeps all.")
	flags.BoolVar(&s.releaseFinalizers, "release-finalizers", false,
		"Remove the operator's finalizers from the resources in --watch-namespaces and exit, so that "+
			"they can be deleted without an operator. Policies stay in Redis. With --leader-elect it takes "+
			"the lease first, so that no operator puts them back.")
	flags.BoolVar(&s.version, "version", false, "Print the version and exit.")
	config.RegisterFlags(flags)
	s.log.BindFlags(flags)
	if err := flags.Parse(args); err != nil {
		return settings{}, err
	}
	return s, s.validate(flags.Args())
}

func (s settings) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: there are only flags, see --help", rest[0])
	case s.onDataLoss != string(v1.DataLossInvalidateAll) && s.onDataLoss != string(v1.DataLossReplay):
		return fmt.Errorf("--on-data-loss must be %s or %s, not %q", v1.DataLossInvalidateAll,
			v1.DataLossReplay, s.onDataLoss)
	case s.clusterID != "" && len(validation.IsValidLabelValue(s.clusterID)) > 0:
		return fmt.Errorf(
			"--cluster-id must have 1 to 63 letters, digits, '.', '_' and '-', and begin and end with a "+
				"letter or digit; not %q", s.clusterID)
	case s.historyLimit < 0:
		return fmt.Errorf("--invalidation-history-limit must be 0 or more, not %d", s.historyLimit)
	case s.storeCheckInterval < minInterval:
		return fmt.Errorf("--store-check-interval must be at least %s, not %s", minInterval,
			s.storeCheckInterval)
	case s.statsInterval < minInterval:
		return fmt.Errorf("--stats-interval must be at least %s, not %s", minInterval, s.statsInterval)
	default:
		return nil
	}
}

// namespaces is a flag: names separated by commas. No name means all namespaces.
type namespaces []string

func (n *namespaces) String() string { return strings.Join(*n, ",") }

// Set refuses what cannot be a namespace: a watch of it would always be empty. It also refuses the
// empty text that an unset variable becomes: that must not widen to every namespace.
func (n *namespaces) Set(text string) error {
	var names namespaces
	for _, name := range strings.Split(text, ",") {
		name = strings.TrimSpace(name)
		if wrong := validation.IsDNS1123Label(name); len(wrong) > 0 {
			return fmt.Errorf("%q is no namespace: %s", name, wrong[0])
		}
		names = append(names, name)
	}
	*n = names
	return nil
}

// addresses is a flag: addresses that CacheStores may lead to, separated by commas. None means all
// but a few.
type addresses []string

func (a *addresses) String() string { return strings.Join(*a, ",") }

// Set refuses what is no address, and the empty text that an unset variable becomes: that must not
// allow all.
func (a *addresses) Set(text string) error {
	var added addresses
	for _, entry := range strings.Split(text, ",") {
		added = append(added, strings.TrimSpace(entry))
	}
	if _, err := registry.NewDialCheck(added); err != nil {
		return err
	}
	*a = append(*a, added...)
	return nil
}
