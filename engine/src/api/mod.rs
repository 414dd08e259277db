//! What users write: environments, streams, functions, and the traits of sources and sinks.

mod backends;
mod broadcast_function;
mod client;
mod co_function;
mod collector;
mod connected;
mod data;
mod environment;
mod fold_nodes;
mod function;
mod keyed;
mod nodes;
mod process_function;
mod sink;
mod source;
mod stream;
mod window_nodes;
mod windows;

pub use crate::runtime::WatermarkStrategy;
pub use crate::runtime::metrics::BackendFigures;
pub use backends::{
    FsStateBackend, HashMapStateBackend, MemoryStateBackend, RocksDbStateBackend, StateBackendSetting,
};
pub use broadcast_function::{
    BroadcastProcessFunction, KeyedBroadcastContext, KeyedBroadcastProcessFunction, KeyedReadOnlyContext,
    ReadOnlyContext,
};
pub use client::{JobClient, JobExecutionResult, JobProgress};
pub use co_function::{CoProcessFunction, KeyedCoProcessFunction};
pub use collector::{Collector, OutputTag};
pub use connected::{
    BroadcastConnectedStream, BroadcastStream, Connect, ConnectedStreams, KeyedBroadcastConnectedStream,
    KeyedConnectedStreams,
};
pub use data::{Data, TimestampMs, WATERMARK_MAX, WATERMARK_MIN};
pub use environment::StreamExecutionEnvironment;
pub use function::{KeyedProcessFunction, ProcessContext, Timer};
pub use keyed::KeyedStream;
pub use process_function::{FunctionContext, ProcessFunction};
pub use sink::{
    Committer, PreCommit, Sink, SinkContext, SinkWriter, TwoPhaseCommitSink, TwoPhaseCommitWriter,
};
pub use source::{Boundedness, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader, SourceWaker};
pub use stream::{DataStream, DataStreamSink};
pub use windows::{TimeWindow, TumblingEventTimeWindows, WindowedStream};

pub(crate) use collector::SideBuffer;
