package metrics

import "github.com/prometheus/client_golang/prometheus"

// families are the metrics that this room exports: names, labels and what they
// mean. Names are promises to rules and dashboards.
type families struct {
	all []*prometheus.Desc

	buildInfo, machineInfo                                     *prometheus.Desc
	configValid, configReload, waiversValid                    *prometheus.Desc
	rounds, shortRounds, roundTimestamp, roundDuration         *prometheus.Desc
	collectorSuccess, collectorDuration, collectorLastSuccess  *prometheus.Desc
	captureTier, captureComplete                               *prometheus.Desc
	events, eventsLost, eventsUnattributed, gaps               *prometheus.Desc
	kernelMemory, unattributed                                 *prometheus.Desc
	flows, flowSent, flowReceived, outsideSent, programOutside *prometheus.Desc
	storeInfo, storeOpens, storeHolders, storeSent             *prometheus.Desc
	checkFailing, checkUnknown, checkWaived, findings          *prometheus.Desc
	components, runningPrograms, freeRatio                     *prometheus.Desc
	waiverExpiry, transferExpiry, factsTimestamp               *prometheus.Desc
}

func newFamilies() *families {
	f := &families{}
	f.agent()
	f.sight()
	f.traffic()
	f.judgement()
	return f
}

func (f *families) add(name, help string, labels ...string) *prometheus.Desc {
	desc := prometheus.NewDesc("cityward_"+name, help, labels, nil)
	f.all = append(f.all, desc)
	return desc
}

func (f *families) describe(descs chan<- *prometheus.Desc) {
	for _, desc := range f.all {
		descs <- desc
	}
}

// agent is about the daemon and the machine it runs on.
func (f *families) agent() {
	f.buildInfo = f.add("build_info", "The running Cityward. Always 1.", "version", "revision", "goversion")
	f.machineInfo = f.add("machine_info",
		"The machine, as its kernel, os-release and firmware tables describe it. Always 1; platform is the cloud platform recognised, or none.",
		"os", "os_version", "kernel", "arch", "virtualization", "platform", "vendor", "product")
	f.configValid = f.add("config_valid",
		"1 if the configuration file on disk is the one in force, 0 if it is broken and an earlier one stays in force.")
	f.configReload = f.add("config_reload_timestamp_seconds", "When the configuration in force was read, in Unix time.")
	f.waiversValid = f.add("waivers_valid", "1 if the waiver file is sound or absent, 0 if it is broken and no waiver is honoured.")
	f.rounds = f.add("rounds_total", "Rounds finished since the daemon started: everything looked at and judged once.")
	f.shortRounds = f.add("short_rounds_total",
		"Short rounds finished since the daemon started: between two rounds, what must not wait was looked at again, and all judged.")
	f.roundTimestamp = f.add("round_timestamp_seconds",
		"When the round that this page shows began, in Unix time. Every value here is as old as this; in a short round the slow ones are as old as the last success of their collector.")
	f.roundDuration = f.add("round_duration_seconds", "How long the last round took that was not a short one.")
	f.waiverExpiry = f.add("waiver_expiry_timestamp_seconds",
		"End of a waiver, in Unix time. The id is the check's; a further waiver of the same check has its number in the file after a slash.", "id")
	f.transferExpiry = f.add("transfer_expiry_timestamp_seconds", "End of an approved transfer, in Unix time.", "id")
	f.factsTimestamp = f.add("facts_timestamp_seconds",
		"Date of a table of reference facts or a geo database: when it was made or last reviewed, in Unix time; 0 if it is not known.", "table")
}

// sight is about what the agent can see.
func (f *families) sight() {
	f.collectorSuccess = f.add("collector_success", "1 if the collector saw its part of the machine in the last round, 0 if it saw nothing.", "collector")
	f.collectorDuration = f.add("collector_duration_seconds", "How long the collector took in the last round.", "collector")
	f.collectorLastSuccess = f.add("collector_last_success_timestamp_seconds",
		"When the collector last saw its part of the machine, in Unix time; 0 if it never did.", "collector")
	f.captureTier = f.add("capture_tier_info",
		"How short-lived things are watched: bpf misses none, events little, poll and gopsutil all that ends between two rounds. 1 for the tier in use.", "capture", "tier")
	f.captureComplete = f.add("capture_complete",
		"1 if nothing can have passed this capture unseen, else 0; `cityward doctor` tells why and what to change.", "capture")
	f.events = f.add("events_total", "Events that a capture saw since it began; in the kernel it outlives the daemon.", "capture")
	f.eventsLost = f.add("events_lost_total", "Events that a capture knows it lost since it began.", "capture")
	f.eventsUnattributed = f.add("events_unattributed_total", "Events that a capture saw but could not tie to a program.", "capture")
	f.kernelMemory = f.add("kernel_memory_bytes", "Memory of BPF maps and programs, which the daemon's own memory does not show.")
	f.unattributed = f.add("interface_unattributed_bytes_total",
		"Bytes that left interfaces other than loopback and belong to no socket of IP: forwarded, whole frames, tunnels. With stacked interfaces they count once for each.")
	f.gaps = f.add("gaps",
		"Things that could not be seen in the last round, at least, by kind of evidence. Where this is not 0, counts of that kind are lower bounds.", "kind")
}

// traffic is about flows, and about who holds data.
func (f *families) traffic() {
	f.flows = f.add("flows_total", "Connections begun.", "direction", "protocol", "peer_zone")
	f.flowSent = f.add("flow_sent_bytes_total", "Payload bytes that programs sent; direction is who began the flow.",
		"direction", "protocol", "peer_zone")
	f.flowReceived = f.add("flow_received_bytes_total", "Payload bytes that programs received; direction is who began the flow.",
		"direction", "protocol", "peer_zone")
	f.outsideSent = f.add("outside_sent_bytes_total",
		"Payload bytes sent to addresses that are neither this machine's, the city's nor an approved transfer's, by where they are and who runs them.",
		"country", "operator")
	f.programOutside = f.add("program_outside_sent_bytes_total",
		"Payload bytes sent outside, by the service or the executable that sent them.", "program")
	f.storeInfo = f.add("data_store_info",
		"A declared data store and what it lies on. Always 1; medium_zone is whose machine the medium is in, unknown where it was not found.",
		"store", "class", "medium", "medium_zone", "encrypted")
	f.storeOpens = f.add("data_store_opens_total", "Times that a program was seen to open or read a file of the store.", "store")
	f.storeHolders = f.add("data_store_holders", "Running programs that hold the store's data.", "store")
	f.storeSent = f.add("data_store_sent_bytes_total",
		"Payload bytes sent by programs while they held the store's data; how is how they came by it.", "store", "peer_zone", "how")
}

// judgement is about checks and software freedom.
func (f *families) judgement() {
	f.checkFailing = f.add("check_failing",
		"1 if the check fails and no waiver in force excuses it, else 0. No series where there is nothing the check is about. 0 is no pass: see cityward_check_unknown.",
		"check", "severity")
	f.checkUnknown = f.add("check_unknown", "1 if what could be seen does not suffice to judge, else 0.", "check", "severity")
	f.checkWaived = f.add("check_waived", "1 if the check fails and a waiver in force excuses it, else 0. Only for checks that a waiver names.",
		"check", "severity")
	f.findings = f.add("findings", "Failures of the last round, by what a person has decided about them.", "severity", "disposition")
	f.components = f.add("components", "Installed software components, by licence.", "ecosystem", "freedom")
	f.runningPrograms = f.add("running_programs", "Programs that run now, by licence. The processes of one executable under one user in one service or container count once.", "freedom")
	f.freeRatio = f.add("free_software_ratio",
		"Share of free software, 0 to 1. The bound low counts unknown licences as not free, high counts them as free.", "scope", "bound")
}
