# test needs only Go and make. e2e and bench start real servers, which
# e2e/servers/install.sh installs.

FUZZTIME ?= 10s
BENCHTIME ?= 1s
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help
.PHONY: build test race lint fuzz e2e chaos bench bench-latency bench-alerts microbench clean help

build: ## the program, bin/analytics
	go build -o bin/analytics ./cmd/analytics

test: ## vet and all tests that need no servers
	go vet ./...
	go test ./...

race: ## the same tests with the race detector
	go test -race ./...

lint: ## gofmt, vet, staticcheck, go.mod; the end-to-end tests included
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	go vet -tags e2e ./...
	$(STATICCHECK) -tags e2e ./...
	go mod tidy -diff

fuzz: ## every fuzz target for FUZZTIME (10s, or 20000x: so many inputs)
	@set -e; grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sort | while IFS=: read -r file target; do \
		echo "fuzz $${target#func } in $$(dirname $$file)"; \
		go test -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) $$(dirname $$file) </dev/null; \
	done

e2e: ## the program on real Kafka and Prometheus, while it is being killed
	@report=$$(mktemp); status=0; \
	E2E_REPORT=$$report go test -tags e2e -count=1 -timeout 60m $(E2E) ./e2e/... || status=$$?; \
	cat $$report; rm -f $$report; exit $$status

chaos: ## three brokers and three instances in a storm of faults; CHAOS_SEED=7 CHAOS_FOR=5m
	go test -tags e2e -count=1 -timeout 4h -v -run '^TestChaos$$' ./e2e

bench: ## throughput and loss on real Kafka, beside Kafka Streams, Flink, goka and bare consumers; BENCH="-events 1000000"
	go run ./bench $(BENCH)

bench-latency: ## from an event to the committed table, on real Kafka, at 2,000 and 20,000 events a second; BENCH="-latency 10s"
	go run ./bench -latency 60s $(BENCH)

bench-alerts: ## from an event that breaches a rule to a consumer of RabbitMQ, at 20,000 events a second; BENCH="-alerts 30s"
	go run ./bench -alerts 60s $(BENCH)

microbench: ## every Go benchmark once, for BENCHTIME (1s) each
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

clean: ## what the targets above leave behind
	rm -rf bin

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16
