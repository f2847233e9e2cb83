// Package e2e tests the program as its users run it: the binary as a process of
// its own, a real Kafka, RabbitMQ and Prometheus, started by the scripts in servers/.
//
//	make e2e
//
// The tests need the build tag e2e. What they need and do not find fails them.
// They know the program by its command line, its configuration, its topics and
// its HTTP interface; what the result must be they know from package generate.
//
// Environment:
//
//	E2E_RACE=1     build the program with the race detector
//	E2E_SEED=N     repeat the random moments of a run
//	E2E_KEEP=1     keep the logs of a run that succeeded
//	E2E_MOUNT=0    limit the size of files where a small file system would be filled
package e2e
