//! Runs a model step by step from Rust, without any crate.
//!
//!     rustc -O step.rs -L native=PREFIX/lib -l dylib=lstmcore_c -C link-arg=-Wl,-rpath,PREFIX/lib
//!     ./step model.safetensors inputs.txt
//!
//! where lstmcore is installed in PREFIX. INPUTS has a line of numbers for each step; the model's output after it is
//! printed.
use std::env;
use std::ffi::{c_char, CStr, CString};
use std::fs;
use std::process::ExitCode;
use std::ptr;

/// What lstmcore.h declares, as far as it is used here.
mod ffi {
    use std::ffi::c_char;

    pub enum Model {}
    pub enum Stream {}

    #[repr(C)]
    #[derive(Default)]
    pub struct ModelInfo {
        pub struct_size: usize,
        pub input_size: i64,
        pub vocabulary_size: i64,
        pub output_size: i64,
        pub state_size: i64,
        pub layer_count: i64,
        pub output_has_steps: i32,
        pub can_stream: i32,
    }

    pub const OK: i32 = 0;
    pub const ONE_THREAD: i32 = 0;
    pub const ABI_VERSION: i32 = 1;

    extern "C" {
        pub fn lstmcore_abi_version() -> i32;
        pub fn lstmcore_last_error() -> *const c_char;
        pub fn lstmcore_model_load(path: *const c_char, model: *mut *mut Model) -> i32;
        pub fn lstmcore_model_free(model: *mut Model);
        pub fn lstmcore_model_get_info(model: *const Model, info: *mut ModelInfo) -> i32;
        pub fn lstmcore_stream_create(model: *const Model, rows: i64, threads: i32, stream: *mut *mut Stream) -> i32;
        pub fn lstmcore_stream_free(stream: *mut Stream);
        pub fn lstmcore_stream_step(stream: *mut Stream, x: *const f32, x_size: usize, y: *mut f32, y_size: usize) -> i32;
    }
}

/// The result of a call: the text of the error, if its status says that it failed.
fn check(status: i32) -> Result<(), String> {
    if status == ffi::OK {
        return Ok(());
    }
    let text: *const c_char = unsafe { ffi::lstmcore_last_error() };
    Err(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// A stream of one row, which frees what it holds. The C library keeps what the stream needs of the model.
struct Stream {
    handle: *mut ffi::Stream,
    outputs: Vec<f32>,
}

impl Stream {
    fn open(path: &str) -> Result<Stream, String> {
        if unsafe { ffi::lstmcore_abi_version() } != ffi::ABI_VERSION {
            return Err(format!("expected ABI version {}", ffi::ABI_VERSION));
        }
        let path = CString::new(path).map_err(|error| error.to_string())?;
        let mut model = ptr::null_mut();
        check(unsafe { ffi::lstmcore_model_load(path.as_ptr(), &mut model) })?;
        let made = Stream::of(model);
        unsafe { ffi::lstmcore_model_free(model) };
        made
    }

    fn of(model: *const ffi::Model) -> Result<Stream, String> {
        let mut info = ffi::ModelInfo { struct_size: std::mem::size_of::<ffi::ModelInfo>(), ..Default::default() };
        check(unsafe { ffi::lstmcore_model_get_info(model, &mut info) })?;
        let mut handle = ptr::null_mut();
        check(unsafe { ffi::lstmcore_stream_create(model, 1, ffi::ONE_THREAD, &mut handle) })?;
        Ok(Stream { handle, outputs: vec![0.0; info.output_size as usize] })
    }

    fn step(&mut self, x: &[f32]) -> Result<&[f32], String> {
        let y = &mut self.outputs;
        check(unsafe { ffi::lstmcore_stream_step(self.handle, x.as_ptr(), x.len(), y.as_mut_ptr(), y.len()) })?;
        Ok(y)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        unsafe { ffi::lstmcore_stream_free(self.handle) }
    }
}

/// A number that is finite as f32; what is not would stay in the state for ever.
fn finite(word: &str) -> Result<f32, String> {
    let value = word.parse().ok().filter(|value: &f32| value.is_finite());
    value.ok_or_else(|| format!("expected finite numbers, got \"{word}\""))
}

fn step<'a>(stream: &'a mut Stream, line: &str) -> Result<&'a [f32], String> {
    let x = line.split_whitespace().map(finite).collect::<Result<Vec<f32>, _>>()?;
    stream.step(&x)
}

fn run(model: &str, inputs: &str) -> Result<(), String> {
    let mut stream = Stream::open(model)?;
    let text = fs::read_to_string(inputs).map_err(|error| format!("{inputs}: {error}"))?;
    for (place, line) in text.lines().enumerate() {
        let y = step(&mut stream, line).map_err(|error| format!("{inputs}, line {}: {error}", place + 1))?;
        println!("{}", y.iter().map(f32::to_string).collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    if arguments.len() != 3 {
        eprintln!("usage: step MODEL.safetensors INPUTS");
        return ExitCode::from(2);
    }
    match run(&arguments[1], &arguments[2]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}
