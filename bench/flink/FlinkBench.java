// SPDX-License-Identifier: Apache-2.0
//
// Apache Flink on the workloads of millpond-bench, in one JVM (a local MiniCluster), for `millpond-bench compare`. One source file, no build tool: javac against the
// jars of Flink 1.20 or 2.x. Records, checksums and what is timed are those of the README beside the Rust program.

import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.Serializable;
import java.lang.management.ManagementFactory;
import java.lang.management.GarbageCollectorMXBean;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichFlatMapFunction;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SourceSplit;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.reader.TextLineInputFormat;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.runtime.checkpoint.AbstractCheckpointStats;
import org.apache.flink.runtime.checkpoint.CheckpointStatsSnapshot;
import org.apache.flink.runtime.checkpoint.CheckpointStatsStatus;
import org.apache.flink.runtime.checkpoint.CompletedCheckpointStats;
import org.apache.flink.runtime.checkpoint.FailedCheckpointStats;
import org.apache.flink.runtime.checkpoint.SubtaskStateStats;
import org.apache.flink.runtime.checkpoint.TaskStateStats;
import org.apache.flink.runtime.executiongraph.AccessExecutionGraph;
import org.apache.flink.runtime.jobgraph.JobGraph;
import org.apache.flink.runtime.jobmaster.JobResult;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.runtime.util.EnvironmentInformation;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.datastream.WindowedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.functions.windowing.WindowFunction;
import org.apache.flink.streaming.api.operators.KeyedProcessOperator;
import org.apache.flink.streaming.api.operators.StreamFlatMap;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

public final class FlinkBench {

    // ------------------------------------------------------------------ options

    static final class Opt implements Serializable {
        String workload = "keyed-count";
        long records = 20_000_000L;
        long keys = 1_000_000L;
        int parallelism = 1;
        String backend = "hashmap";
        String storage = "filesystem";
        String mode = "exactly_once";
        long intervalMs = 0; // 0: no checkpoints
        String checkpointDir = null;
        boolean objectReuse = true;
        long bufferTimeout = 100;
        boolean emit = true;
        int sourceBatch = 256;
        boolean verify = true;
        long windowMs = 10_000;
        long ratio = 100;
        String text = null;
        int managedMb = 1024;
        int networkMb = 64;
        long warmup = -1;
        long timeoutS = 1800;
        String tmp = System.getProperty("java.io.tmpdir") + "/millpond-flink-" + ProcessHandle.current().pid();
        final Map<String, String> conf = new LinkedHashMap<>();

        static Opt parse(String[] a) {
            Opt o = new Opt();
            for (int i = 0; i < a.length; i++) {
                String k = a[i];
                if (!k.startsWith("--")) throw new IllegalArgumentException("not an option: " + k);
                if (i + 1 >= a.length) throw new IllegalArgumentException("no value for " + k);
                String v = a[++i];
                switch (k) {
                    case "--workload": o.workload = v; break;
                    case "--records": o.records = num(v); break;
                    case "--keys": o.keys = num(v); break;
                    case "--parallelism": o.parallelism = Integer.parseInt(v); break;
                    case "--backend": o.backend = v; break;
                    case "--storage": o.storage = v; break;
                    case "--mode": o.mode = v; break;
                    case "--interval-ms": o.intervalMs = num(v); break;
                    case "--checkpoint-dir": o.checkpointDir = v; break;
                    case "--object-reuse": o.objectReuse = Boolean.parseBoolean(v); break;
                    case "--buffer-timeout": o.bufferTimeout = Long.parseLong(v); break;
                    case "--emit": o.emit = Boolean.parseBoolean(v); break;
                    case "--source-batch": o.sourceBatch = Integer.parseInt(v); break;
                    case "--verify": o.verify = Boolean.parseBoolean(v); break;
                    case "--window-ms": o.windowMs = num(v); break;
                    case "--ratio": o.ratio = num(v); break;
                    case "--text": o.text = v; break;
                    case "--managed-mb": o.managedMb = Integer.parseInt(v); break;
                    case "--network-mb": o.networkMb = Integer.parseInt(v); break;
                    case "--warmup-records": o.warmup = num(v); break;
                    case "--timeout-s": o.timeoutS = num(v); break;
                    case "--tmp": o.tmp = v; break;
                    case "--conf": {
                        int eq = v.indexOf('=');
                        if (eq < 1) throw new IllegalArgumentException("--conf wants key=value, got " + v);
                        o.conf.put(v.substring(0, eq), v.substring(eq + 1));
                        break;
                    }
                    default: throw new IllegalArgumentException("unknown option " + k);
                }
            }
            if (o.warmup < 0) {
                o.warmup = (o.workload.equals("keyed-count") || o.workload.equals("tumbling-window")) ? 2_000_000L : 0L;
            }
            return o;
        }

        /** 20M, 1k, 10000 */
        static long num(String s) {
            String t = s.trim().toLowerCase(Locale.ROOT).replace("_", "");
            long m = 1;
            if (t.endsWith("k")) { m = 1_000; t = t.substring(0, t.length() - 1); }
            else if (t.endsWith("m")) { m = 1_000_000; t = t.substring(0, t.length() - 1); }
            else if (t.endsWith("g")) { m = 1_000_000_000; t = t.substring(0, t.length() - 1); }
            return Long.parseLong(t) * m;
        }
    }

    // ------------------------------------------------------------------ the shared definitions

    static final long GOLDEN = 0x9E3779B97F4A7C15L;

    static long splitmix64(long x) {
        long z = x + GOLDEN;
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }

    /** key_i = splitmix64(i) mod K, unsigned */
    static long keyOf(long i, long k) {
        return Long.remainderUnsigned(splitmix64(i), k);
    }

    /** the 64-bit FNV-1a hash of the word's bytes in UTF-8 */
    static long fnv1a(String s) {
        long h = 0xcbf29ce484222325L;
        for (int i = 0, n = s.length(); i < n; i++) {
            char c = s.charAt(i);
            if (c >= 0x80) return fnv1a(s.getBytes(StandardCharsets.UTF_8));
            h = (h ^ c) * 0x100000001b3L;
        }
        return h;
    }

    static long fnv1a(byte[] bytes) {
        long h = 0xcbf29ce484222325L;
        for (byte b : bytes) h = (h ^ (b & 0xff)) * 0x100000001b3L;
        return h;
    }

    static long keyHash(Object k) {
        return k instanceof Long ? (Long) k : fnv1a((String) k);
    }

    /** one update's contribution to the order-independent checksum (wrapping sum over all updates) */
    static long mix(long keyHash, long count) {
        return splitmix64(keyHash + GOLDEN * count);
    }

    static long mixWindow(long key, long start, long sum) {
        return splitmix64(splitmix64(key + GOLDEN * start) + sum);
    }

    // ------------------------------------------------------------------ probe: measurements, same JVM as the tasks

    static final class Probe {
        static final AtomicLong firstNanos = new AtomicLong(Long.MAX_VALUE);
        static final AtomicLong firstCpu = new AtomicLong(0);
        static final AtomicLong endNanos = new AtomicLong(0);
        static final AtomicLong endCpu = new AtomicLong(0);
        static final AtomicInteger toFinish = new AtomicInteger(0);
        static final AtomicLong checksum = new AtomicLong();
        static final AtomicLong sumCounts = new AtomicLong();
        static final AtomicLong outputs = new AtomicLong();

        static void reset(int finishers) {
            firstNanos.set(Long.MAX_VALUE);
            firstCpu.set(0);
            endNanos.set(0);
            endCpu.set(0);
            toFinish.set(finishers);
            checksum.set(0);
            sumCounts.set(0);
            outputs.set(0);
        }

        static void first() {
            long now = System.nanoTime();
            if (firstNanos.compareAndSet(Long.MAX_VALUE, now)) firstCpu.set(cpuNanos());
        }

        static void finished() {
            if (toFinish.decrementAndGet() == 0) {
                endNanos.set(System.nanoTime());
                endCpu.set(cpuNanos());
            }
        }
    }

    static long cpuNanos() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    // ------------------------------------------------------------------ source (FLIP-27, batch of records per pollNext)

    abstract static class Gen<T> implements Serializable {
        abstract void emit(long i, ReaderOutput<T> out);
    }

    static final class KeyGen extends Gen<Long> {
        final long k;
        KeyGen(long k) { this.k = k; }
        @Override void emit(long i, ReaderOutput<Long> out) { out.collect(keyOf(i, k)); }
    }

    /** (key, value) with event time i / ratio milliseconds; value = top byte of splitmix64(i) */
    static final class WindowGen extends Gen<Tuple2<Long, Long>> {
        final long k;
        final long ratio;
        transient Tuple2<Long, Long> reuse;
        WindowGen(long k, long ratio) { this.k = k; this.ratio = ratio; }
        @Override void emit(long i, ReaderOutput<Tuple2<Long, Long>> out) {
            if (reuse == null) reuse = new Tuple2<>();
            long h = splitmix64(i);
            reuse.f0 = Long.remainderUnsigned(h, k);
            reuse.f1 = h >>> 56;
            out.collect(reuse, i / ratio);
        }
    }

    static final class RangeSplit implements SourceSplit, Serializable {
        final int idx;
        long next;
        final long step;
        final long end;
        RangeSplit(int idx, long next, long step, long end) { this.idx = idx; this.next = next; this.step = step; this.end = end; }
        RangeSplit copy() { return new RangeSplit(idx, next, step, end); }
        @Override public String splitId() { return "r" + idx; }
    }

    static final class SplitsSerializer implements SimpleVersionedSerializer<List<RangeSplit>> {
        @Override public int getVersion() { return 1; }
        @Override public byte[] serialize(List<RangeSplit> l) throws IOException {
            ByteArrayOutputStream b = new ByteArrayOutputStream();
            DataOutputStream d = new DataOutputStream(b);
            d.writeInt(l.size());
            for (RangeSplit s : l) { d.writeInt(s.idx); d.writeLong(s.next); d.writeLong(s.step); d.writeLong(s.end); }
            d.flush();
            return b.toByteArray();
        }
        @Override public List<RangeSplit> deserialize(int v, byte[] bytes) throws IOException {
            DataInputStream d = new DataInputStream(new ByteArrayInputStream(bytes));
            int n = d.readInt();
            List<RangeSplit> l = new ArrayList<>();
            for (int i = 0; i < n; i++) l.add(new RangeSplit(d.readInt(), d.readLong(), d.readLong(), d.readLong()));
            return l;
        }
    }

    static final class SplitSerializer implements SimpleVersionedSerializer<RangeSplit> {
        final SplitsSerializer inner = new SplitsSerializer();
        @Override public int getVersion() { return 1; }
        @Override public byte[] serialize(RangeSplit s) throws IOException { return inner.serialize(java.util.List.of(s)); }
        @Override public RangeSplit deserialize(int v, byte[] b) throws IOException { return inner.deserialize(v, b).get(0); }
    }

    static final class RangeEnumerator implements SplitEnumerator<RangeSplit, List<RangeSplit>> {
        final SplitEnumeratorContext<RangeSplit> ctx;
        final List<RangeSplit> left;
        RangeEnumerator(SplitEnumeratorContext<RangeSplit> ctx, List<RangeSplit> left) { this.ctx = ctx; this.left = left; }
        @Override public void start() {}
        @Override public void handleSplitRequest(int subtask, String host) {}
        @Override public void addSplitsBack(List<RangeSplit> l, int subtask) { left.addAll(l); }
        @Override public void addReader(int subtask) {
            int p = ctx.currentParallelism();
            List<RangeSplit> mine = new ArrayList<>();
            for (RangeSplit s : left) if (s.idx % p == subtask) mine.add(s);
            for (RangeSplit s : mine) ctx.assignSplit(s, subtask);
            left.removeAll(mine);
            ctx.signalNoMoreSplits(subtask);
        }
        @Override public List<RangeSplit> snapshotState(long id) { return new ArrayList<>(left); }
        @Override public void close() {}
    }

    static final class RangeReader<T> implements SourceReader<T, RangeSplit> {
        final Gen<T> gen;
        final int batch;
        final ArrayDeque<RangeSplit> splits = new ArrayDeque<>();
        boolean noMore;
        boolean started;
        CompletableFuture<Void> avail = new CompletableFuture<>();

        RangeReader(Gen<T> gen, int batch) { this.gen = gen; this.batch = batch; }
        @Override public void start() {}

        @Override public InputStatus pollNext(ReaderOutput<T> out) {
            RangeSplit s = splits.poll();
            if (s == null) {
                if (noMore) return InputStatus.END_OF_INPUT;
                if (avail.isDone()) avail = new CompletableFuture<>();
                return InputStatus.NOTHING_AVAILABLE;
            }
            if (!started) { started = true; Probe.first(); }
            long i = s.next;
            final long end = s.end, step = s.step;
            int n = batch;
            final Gen<T> g = gen;
            while (n > 0 && i < end) { g.emit(i, out); i += step; n--; }
            s.next = i;
            if (i < end) splits.add(s);
            return InputStatus.MORE_AVAILABLE;
        }

        @Override public List<RangeSplit> snapshotState(long id) {
            List<RangeSplit> l = new ArrayList<>();
            for (RangeSplit s : splits) l.add(s.copy());
            return l;
        }
        @Override public CompletableFuture<Void> isAvailable() {
            return (!splits.isEmpty() || noMore) ? CompletableFuture.completedFuture(null) : avail;
        }
        @Override public void addSplits(List<RangeSplit> l) { for (RangeSplit s : l) splits.add(s.copy()); avail.complete(null); }
        @Override public void notifyNoMoreSplits() { noMore = true; avail.complete(null); }
        @Override public void close() {}
    }

    static final class RangeSource<T> implements Source<T, RangeSplit, List<RangeSplit>> {
        final Gen<T> gen;
        final long n;
        final int parts;
        final int batch;
        RangeSource(Gen<T> gen, long n, int parts, int batch) {
            this.gen = gen; this.n = n; this.parts = parts; this.batch = batch;
        }
        @Override public Boundedness getBoundedness() {
            return Boundedness.BOUNDED;
        }
        @Override public SplitEnumerator<RangeSplit, List<RangeSplit>> createEnumerator(SplitEnumeratorContext<RangeSplit> c) {
            List<RangeSplit> l = new ArrayList<>();
            for (int p = 0; p < parts; p++) l.add(new RangeSplit(p, p, parts, n));
            return new RangeEnumerator(c, l);
        }
        @Override public SplitEnumerator<RangeSplit, List<RangeSplit>> restoreEnumerator(SplitEnumeratorContext<RangeSplit> c, List<RangeSplit> l) {
            return new RangeEnumerator(c, new ArrayList<>(l));
        }
        @Override public SimpleVersionedSerializer<RangeSplit> getSplitSerializer() { return new SplitSerializer(); }
        @Override public SimpleVersionedSerializer<List<RangeSplit>> getEnumeratorCheckpointSerializer() { return new SplitsSerializer(); }
        @Override public SourceReader<T, RangeSplit> createReader(SourceReaderContext c) { return new RangeReader<>(gen, batch); }
    }

    // ------------------------------------------------------------------ operators

    /** KeyedProcessOperator that reports end of input (ProcessFunction itself has no such hook) */
    static final class FinishingKeyed<K, I, O> extends KeyedProcessOperator<K, I, O> {
        FinishingKeyed(KeyedProcessFunction<K, I, O> f) { super(f); }
        @Override public void finish() throws Exception { super.finish(); Probe.finished(); }
    }

    static final class FinishingFlatMap<I, O> extends StreamFlatMap<I, O> {
        FinishingFlatMap(RichFlatMapFunction<I, O> f) { super(f); }
        @Override public void finish() throws Exception { super.finish(); Probe.finished(); }
    }

    static final class CountFn<K> extends KeyedProcessFunction<K, K, Tuple2<K, Long>> {
        final boolean emit;
        transient ValueState<Long> state;
        transient Tuple2<K, Long> reuse;
        transient long n, sum, check;
        CountFn(boolean emit) { this.emit = emit; }

        @Override public void open(OpenContext c) {
            state = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
            reuse = new Tuple2<>();
        }
        @Override public void processElement(K key, Context ctx, Collector<Tuple2<K, Long>> out) throws Exception {
            Long c = state.value();
            long m = c == null ? 1L : c + 1L;
            state.update(m);
            if (emit) {
                reuse.f0 = key;
                reuse.f1 = m;
                out.collect(reuse);
            } else {
                sum += m;
                check += mix(keyHash(key), m);
            }
            n++;
        }
        @Override public void close() {
            if (!emit) { Probe.checksum.addAndGet(check); Probe.sumCounts.addAndGet(sum); Probe.outputs.addAndGet(n); }
        }
    }

    /** the sink's work: order-independent checksum over everything emitted */
    static final class ChecksumCounts<K> extends RichFlatMapFunction<Tuple2<K, Long>, Long> {
        transient long n, sum, check;
        @Override public void flatMap(Tuple2<K, Long> t, Collector<Long> out) {
            long m = t.f1;
            sum += m;
            check += mix(keyHash(t.f0), m);
            n++;
        }
        @Override public void close() { Probe.checksum.addAndGet(check); Probe.sumCounts.addAndGet(sum); Probe.outputs.addAndGet(n); }
    }

    static final class ChecksumWindows extends RichFlatMapFunction<Tuple3<Long, Long, Long>, Long> {
        transient long n, sum, check;
        @Override public void flatMap(Tuple3<Long, Long, Long> t, Collector<Long> out) {
            sum += t.f2;
            check += mixWindow(t.f0, t.f1, t.f2);
            n++;
        }
        @Override public void close() {
            Probe.checksum.addAndGet(check); Probe.sumCounts.addAndGet(sum); Probe.outputs.addAndGet(n);
        }
    }

    static final class SumAgg implements AggregateFunction<Tuple2<Long, Long>, Long, Long> {
        @Override public Long createAccumulator() { return 0L; }
        @Override public Long add(Tuple2<Long, Long> v, Long a) { return a + v.f1; }
        @Override public Long getResult(Long a) { return a; }
        @Override public Long merge(Long a, Long b) { return a + b; }
    }

    static final class EmitWindow implements WindowFunction<Long, Tuple3<Long, Long, Long>, Long, TimeWindow> {
        @Override public void apply(Long key, TimeWindow w, Iterable<Long> in, Collector<Tuple3<Long, Long, Long>> out) {
            out.collect(Tuple3.of(key, w.getStart(), in.iterator().next()));
        }
    }

    static final class Tokenizer extends RichFlatMapFunction<String, String> {
        transient boolean started;
        @Override public void flatMap(String line, Collector<String> out) {
            if (!started) { started = true; Probe.first(); }
            int n = line.length(), i = 0;
            while (i < n) {
                while (i < n && line.charAt(i) <= ' ') i++;
                int s = i;
                while (i < n && line.charAt(i) > ' ') i++;
                if (i > s) out.collect(line.substring(s, i));
            }
        }
    }

    static final class LongKey implements KeySelector<Long, Long> { @Override public Long getKey(Long v) { return v; } }
    static final class StringKey implements KeySelector<String, String> { @Override public String getKey(String v) { return v; } }
    static final class PairKey implements KeySelector<Tuple2<Long, Long>, Long> { @Override public Long getKey(Tuple2<Long, Long> v) { return v.f0; } }

    // ------------------------------------------------------------------ job graphs

    static Configuration configuration(Opt o, boolean warm) {
        Configuration c = new Configuration();
        boolean rocks = o.backend.startsWith("rocksdb");
        c.setString("state.backend.type", rocks ? "rocksdb" : o.backend);
        c.setString("execution.checkpointing.incremental", String.valueOf(o.backend.endsWith("-incremental")));
        c.setString("state.backend.rocksdb.localdir", o.tmp + "/rocksdb");
        c.setString("state.backend.rocksdb.use-bloom-filter", "true");
        c.setString("io.tmp.dirs", o.tmp);
        c.setString("taskmanager.memory.managed.size", o.managedMb + "m");
        c.setString("taskmanager.memory.network.min", o.networkMb + "m");
        c.setString("taskmanager.memory.network.max", o.networkMb + "m");
        c.setString("parallelism.default", String.valueOf(o.parallelism));
        c.setString("pipeline.object-reuse", String.valueOf(o.objectReuse));
        c.setString("pipeline.generic-types", "false"); // fail rather than fall back to Kryo
        if (o.bufferTimeout >= 0) c.setString("execution.buffer-timeout.interval", o.bufferTimeout + " ms");
        c.setString("restart-strategy.type", "none");
        c.setString("rest.bind-port", "0");
        c.setString("web.checkpoints.history", "10000");
        c.setString("metrics.latency.interval", "0");
        if (!warm) {
            if (o.intervalMs > 0) c.setString("execution.checkpointing.interval", o.intervalMs + " ms");
            c.setString("execution.checkpointing.mode", o.mode.toUpperCase(Locale.ROOT));
            c.setString("execution.checkpointing.storage", o.storage);
            c.setString("execution.checkpointing.num-retained", "1");
            c.setString("execution.checkpointing.timeout", "600 s");
            if (o.storage.equals("filesystem")) {
                c.setString("execution.checkpointing.dir", uri(o.checkpointDir != null ? o.checkpointDir : o.tmp + "/checkpoints"));
            }
        }
        for (Map.Entry<String, String> e : o.conf.entrySet()) c.setString(e.getKey(), e.getValue());
        return c;
    }

    static String uri(String p) { return p.contains(":/") ? p : new File(p).getAbsoluteFile().toURI().toString(); }

    static JobGraph build(Opt o, Configuration conf, long records, boolean warm) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(o.parallelism, conf);
        switch (o.workload) {
            case "keyed-count": {
                DataStream<Long> src = env.fromSource(
                        new RangeSource<>(new KeyGen(o.keys), records, o.parallelism, o.sourceBatch),
                        WatermarkStrategy.noWatermarks(), "source", Types.LONG).uid("source");
                count(src.keyBy(new LongKey(), Types.LONG), Types.LONG, o);
                break;
            }
            case "word-count": {
                FileSource<String> fs = FileSource.forRecordStreamFormat(
                        new TextLineInputFormat(), new org.apache.flink.core.fs.Path(uri(o.text))).build();
                DataStream<String> words = env.fromSource(fs, WatermarkStrategy.noWatermarks(), "text", Types.STRING).uid("source")
                        .flatMap(new Tokenizer()).returns(Types.STRING).name("split").uid("split");
                count(words.keyBy(new StringKey(), Types.STRING), Types.STRING, o);
                break;
            }
            case "tumbling-window": {
                TypeInformation<Tuple2<Long, Long>> pair = Types.TUPLE(Types.LONG, Types.LONG);
                TypeInformation<Tuple3<Long, Long, Long>> triple = Types.TUPLE(Types.LONG, Types.LONG, Types.LONG);
                KeyedStream<Tuple2<Long, Long>, Long> keyed = env.fromSource(
                        new RangeSource<>(new WindowGen(o.keys, o.ratio), records, o.parallelism, o.sourceBatch),
                        WatermarkStrategy.<Tuple2<Long, Long>>forMonotonousTimestamps(), "source", pair).uid("source")
                        .keyBy(new PairKey(), Types.LONG);
                WindowedStream<Tuple2<Long, Long>, Long, TimeWindow> w =
                        keyed.window(TumblingEventTimeWindows.of(Duration.ofMillis(o.windowMs)));
                w.aggregate(new SumAgg(), new EmitWindow(), Types.LONG, triple).uid("window")
                        .transform("checksum", Types.LONG, new FinishingFlatMap<>(new ChecksumWindows())).uid("checksum")
                        .sinkTo(new DiscardingSink<>()).uid("sink");
                break;
            }
            default: throw new IllegalArgumentException("unknown workload " + o.workload);
        }
        JobGraph jg = env.getStreamGraph().getJobGraph();
        return jg;
    }

    static <K> void count(KeyedStream<K, K> keyed, TypeInformation<K> kt, Opt o) {
        TypeInformation<Tuple2<K, Long>> pair = Types.TUPLE(kt, Types.LONG);
        DataStream<Tuple2<K, Long>> counted =
                keyed.transform("count", pair, new FinishingKeyed<>(new CountFn<K>(o.emit))).uid("count");
        if (o.emit) {
            counted.transform("checksum", Types.LONG, new FinishingFlatMap<>(new ChecksumCounts<K>())).uid("checksum")
                    .sinkTo(new DiscardingSink<>()).uid("sink");
        } else {
            counted.sinkTo(new DiscardingSink<>()).uid("sink");
        }
    }

    // ------------------------------------------------------------------ checkpoint statistics

    static final class Ckpt {
        long id, trigger, e2e, sync, async, align, delay, stateBytes, newBytes;
        String path, status, failure;

        Map<String, Object> json(long t0) {
            Map<String, Object> m = new LinkedHashMap<>();
            m.put("id", id);
            m.put("status", status);
            m.put("at_s", round((trigger - t0) / 1000.0, 3));
            m.put("e2e_ms", e2e);
            m.put("sync_ms", sync);
            m.put("async_ms", async);
            m.put("align_ms", align);
            m.put("start_delay_ms", delay);
            m.put("state_bytes", stateBytes);
            m.put("new_bytes", newBytes);
            if (failure != null) m.put("failure", failure);
            return m;
        }
    }

    static TreeMap<Long, Ckpt> checkpoints(MiniCluster mc, JobID job) {
        TreeMap<Long, Ckpt> r = new TreeMap<>();
        try {
            AccessExecutionGraph g = mc.getExecutionGraph(job).get();
            CheckpointStatsSnapshot s = g.getCheckpointStatsSnapshot();
            if (s == null) return r;
            for (AbstractCheckpointStats a : s.getHistory().getCheckpoints()) {
                Ckpt c = new Ckpt();
                c.id = a.getCheckpointId();
                c.trigger = a.getTriggerTimestamp();
                c.e2e = a.getEndToEndDuration();
                c.status = String.valueOf(a.getStatus());
                c.stateBytes = a.getStateSize();
                c.newBytes = a.getCheckpointedSize();
                for (TaskStateStats t : a.getAllTaskStateStats()) {
                    for (SubtaskStateStats x : t.getSubtaskStats()) {
                        if (x == null) continue;
                        c.sync = Math.max(c.sync, x.getSyncCheckpointDuration());
                        c.async = Math.max(c.async, x.getAsyncCheckpointDuration());
                        c.align = Math.max(c.align, x.getAlignmentDuration());
                        c.delay = Math.max(c.delay, x.getCheckpointStartDelay());
                    }
                }
                if (a instanceof CompletedCheckpointStats) c.path = ((CompletedCheckpointStats) a).getExternalPath();
                if (a instanceof FailedCheckpointStats) c.failure = ((FailedCheckpointStats) a).getFailureMessage();
                r.put(c.id, c);
            }
        } catch (Exception e) {
            // the job may have gone meanwhile; what was seen stands
        }
        return r;
    }

    // ------------------------------------------------------------------ main

    public static void main(String[] args) throws Exception {
        Opt o = Opt.parse(args);
        Map<String, Object> out = new LinkedHashMap<>();
        out.put("engine", "flink");
        out.put("version", EnvironmentInformation.getVersion());
        out.put("workload", o.workload);
        out.put("backend", o.backend);
        out.put("parallelism", o.parallelism);
        out.put("mode", o.mode);
        out.put("interval_ms", o.intervalMs);
        out.put("object_reuse", o.objectReuse);
        out.put("keys", o.keys);
        out.put("loadavg_start", loadavg());
        int rc = 0;
        MiniCluster mc = null;
        try {
            Files.createDirectories(Path.of(o.tmp));
            Configuration conf = configuration(o, false);
            MiniClusterConfiguration mcc = new MiniClusterConfiguration.Builder()
                    .setConfiguration(conf).setNumTaskManagers(1).setNumSlotsPerTaskManager(o.parallelism).withRandomPorts().build();
            long t = System.nanoTime();
            mc = new MiniCluster(mcc);
            mc.start();
            out.put("minicluster_start_ms", (System.nanoTime() - t) / 1_000_000);
            runBounded(o, conf, mc, out);
        } catch (Throwable e) {
            rc = 1;
            e.printStackTrace();
            List<String> chain = new ArrayList<>();
            for (Throwable x = e; x != null; x = x.getCause()) chain.add(x.getClass().getName() + ": " + x.getMessage());
            out.put("error", chain);
        }
        out.put("loadavg_end", loadavg());
        out.put("gc", gc());
        out.put("process_cpu_s", round(cpuNanos() / 1e9, 2));
        out.put("vm_hwm_mb", vmHwmKb() / 1024);
        System.out.println(json(out));
        System.out.flush();
        if (mc != null) try { mc.closeAsync().get(20, TimeUnit.SECONDS); } catch (Exception e) { /* leaving anyway */ }
        deleteTree(new File(o.tmp));
        System.exit(rc);
    }

    static void runBounded(Opt o, Configuration conf, MiniCluster mc, Map<String, Object> out) throws Exception {
        if (o.warmup > 0 && !o.workload.equals("word-count")) {
            Probe.reset(o.parallelism);
            await(mc, build(o, configuration(o, true), o.warmup, true), o.timeoutS);
        }
        System.gc();
        Probe.reset(o.parallelism);
        JobGraph jg = build(o, conf, o.records, false);
        long t0 = System.currentTimeMillis();
        long submitted = System.nanoTime();
        await(mc, jg, o.timeoutS);
        long done = System.nanoTime();
        double wall = (Probe.endNanos.get() - Probe.firstNanos.get()) / 1e9;
        double cpu = (Probe.endCpu.get() - Probe.firstCpu.get()) / 1e9;
        long records = o.workload.equals("word-count") ? Probe.outputs.get() : o.records;
        out.put("records", records);
        out.put("warmup_records", o.warmup);
        out.put("emit", o.emit);
        if (o.workload.equals("tumbling-window")) {
            out.put("window_ms", o.windowMs);
            out.put("records_per_event_ms", o.ratio);
        }
        out.put("wall_s", round(wall, 3));
        out.put("records_per_s", Math.round(records / wall));
        out.put("cpu_s", round(cpu, 2));
        out.put("cpu_s_per_million", round(cpu / (records / 1e6), 4));
        out.put("submit_to_first_record_ms", (Probe.firstNanos.get() - submitted) / 1_000_000);
        out.put("end_of_input_to_job_done_ms", (done - Probe.endNanos.get()) / 1_000_000);
        out.put("outputs", Probe.outputs.get());
        out.put("sum_counts", Probe.sumCounts.get());
        out.put("checksum", Long.toHexString(Probe.checksum.get()));
        TreeMap<Long, Ckpt> ck = checkpoints(mc, jg.getJobID());
        putCheckpoints(out, ck, t0);
        out.put("vm_hwm_mb_measured", vmHwmKb() / 1024);
        if (o.verify) {
            long[] e = expected(o);
            if (e != null) {
                out.put("verified", e[0] == Probe.checksum.get() && e[1] == Probe.sumCounts.get());
                if (!Boolean.TRUE.equals(out.get("verified"))) out.put("expected_checksum", Long.toHexString(e[0]));
            }
        }
    }

    static void putCheckpoints(Map<String, Object> out, TreeMap<Long, Ckpt> ck, long t0) {
        List<Object> durations = new ArrayList<>(), sizes = new ArrayList<>(), news = new ArrayList<>(), detail = new ArrayList<>();
        int done = 0, failed = 0;
        for (Ckpt c : ck.values()) {
            if ("COMPLETED".equals(c.status)) { done++; durations.add(c.e2e); sizes.add(c.stateBytes); news.add(c.newBytes); }
            if ("FAILED".equals(c.status)) failed++;
            detail.add(c.json(t0));
        }
        out.put("checkpoints_completed", done);
        out.put("checkpoints_failed", failed);
        out.put("checkpoint_ms", durations);
        out.put("checkpoint_state_bytes", sizes);
        out.put("checkpoint_new_bytes", news);
        out.put("checkpoints", detail);
    }

    static void await(MiniCluster mc, JobGraph jg, long timeoutS) throws Exception {
        mc.submitJob(jg).get();
        JobResult r = mc.requestJobResult(jg.getJobID()).get(timeoutS, TimeUnit.SECONDS);
        r.toJobExecutionResult(FlinkBench.class.getClassLoader());
    }

    // ------------------------------------------------------------------ the plain single-threaded answer

    /** {checksum, sum} computed without Flink, or null where it is not defined here */
    static long[] expected(Opt o) throws IOException {
        long check = 0, sum = 0;
        if (o.workload.equals("keyed-count")) {
            if (o.keys > 200_000_000L) return null;
            int[] c = new int[(int) o.keys];
            for (long i = 0; i < o.records; i++) {
                long k = keyOf(i, o.keys);
                long m = ++c[(int) k];
                sum += m;
                check += mix(k, m);
            }
            return new long[] {check, sum};
        }
        if (o.workload.equals("tumbling-window")) {
            if (o.keys > 200_000_000L) return null;
            long[] s = new long[(int) o.keys];
            boolean[] hit = new boolean[(int) o.keys];
            long cur = 0;
            for (long i = 0; i <= o.records; i++) {
                long w = i / o.ratio / o.windowMs * o.windowMs;
                if (w != cur || i == o.records) {
                    for (int k = 0; k < s.length; k++) if (hit[k]) { check += mixWindow(k, cur, s[k]); sum += s[k]; }
                    Arrays.fill(s, 0);
                    Arrays.fill(hit, false);
                    cur = w;
                }
                if (i == o.records) break;
                long h = splitmix64(i);
                int k = (int) Long.remainderUnsigned(h, o.keys);
                s[k] += h >>> 56;
                hit[k] = true;
            }
            return new long[] {check, sum};
        }
        if (o.workload.equals("word-count")) {
            HashMap<String, long[]> m = new HashMap<>();
            File f = new File(o.text);
            File[] files = f.isDirectory() ? f.listFiles(x -> x.isFile() && !x.getName().startsWith(".") && !x.getName().startsWith("_")) : new File[] {f};
            for (File x : files) {
                try (BufferedReader r = Files.newBufferedReader(x.toPath(), StandardCharsets.UTF_8)) {
                    for (String line; (line = r.readLine()) != null; ) {
                        for (String w : line.trim().split("\\s+")) {
                            if (w.isEmpty()) continue;
                            long[] c = m.computeIfAbsent(w, y -> new long[] {0, fnv1a(y)});
                            long n = ++c[0];
                            sum += n;
                            check += mix(c[1], n);
                        }
                    }
                }
            }
            return new long[] {check, sum};
        }
        return null;
    }

    // ------------------------------------------------------------------ small things

    static double round(double v, int digits) {
        double p = Math.pow(10, digits);
        return Math.round(v * p) / p;
    }

    static long vmHwmKb() {
        try {
            for (String l : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (l.startsWith("VmHWM:")) return Long.parseLong(l.replaceAll("[^0-9]", ""));
            }
        } catch (IOException e) { /* not Linux */ }
        return -1;
    }

    /** the machine's one-minute load, to judge how quiet it was */
    static double loadavg() { return round(ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage(), 2); }

    static Map<String, Object> gc() {
        Map<String, Object> m = new LinkedHashMap<>();
        for (GarbageCollectorMXBean b : ManagementFactory.getGarbageCollectorMXBeans()) {
            m.put(b.getName(), b.getCollectionCount() + " in " + b.getCollectionTime() + " ms");
        }
        return m;
    }

    static void deleteTree(File f) {
        File[] l = f.listFiles();
        if (l != null) for (File x : l) deleteTree(x);
        f.delete();
    }

    static String json(Object v) {
        if (v == null) return "null";
        if (v instanceof Map) {
            StringBuilder b = new StringBuilder("{");
            for (Map.Entry<?, ?> e : ((Map<?, ?>) v).entrySet()) {
                if (b.length() > 1) b.append(",");
                b.append(json(String.valueOf(e.getKey()))).append(":").append(json(e.getValue()));
            }
            return b.append("}").toString();
        }
        if (v instanceof List) {
            StringBuilder b = new StringBuilder("[");
            for (Object x : (List<?>) v) { if (b.length() > 1) b.append(","); b.append(json(x)); }
            return b.append("]").toString();
        }
        if (v instanceof Number || v instanceof Boolean) return v.toString();
        StringBuilder b = new StringBuilder("\"");
        for (char c : v.toString().toCharArray()) {
            if (c == '"' || c == '\\') b.append('\\').append(c);
            else if (c == '\n') b.append("\\n");
            else if (c < 0x20) b.append(' ');
            else b.append(c);
        }
        return b.append("\"").toString();
    }
}
