//! Which of Burn's devices run octconv's kernels.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

use burn::backend::DispatchDevice;
use burn::tensor::wgpu::{WgpuInitError, WgpuSetup};
use burn::tensor::{Device, DeviceKind};
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::server::{Handle, ServerError};
use burn_cubecl::cubecl::wgpu::{AutoCompiler, WgpuServer};
use octconv::{AdapterFacts, Engine, EngineOptions};

/// Why a device cannot run octconv's kernels.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not one of Burn's wgpu devices without autodiff.
    #[error("the device is {device}: must be one of Burn's wgpu devices, without autodiff")]
    Device {
        /// What it is.
        device: String,
    },
    /// The setup is that of another device.
    #[error("the setup is not that of the device {device}: {problem}")]
    Setup {
        /// The device.
        device: String,
        /// What wgpu says.
        problem: String,
    },
    /// Burn could not open the device.
    #[error("Burn could not open the device: {0}")]
    Open(#[from] WgpuInitError),
    /// Burn could not give a buffer of the device.
    #[error("Burn could not give a buffer of the device: {0}")]
    Memory(#[from] ServerError),
}

/// The kernels of a device, and the queue that they are submitted to.
pub(crate) struct Accelerator {
    pub(crate) engine: Engine,
    pub(crate) queue: wgpu::Queue,
}

static ACCELERATORS: LazyLock<RwLock<HashMap<CubeDevice, Arc<Accelerator>>>> = LazyLock::new(RwLock::default);

/// Opens one of Burn's wgpu devices, on which octave layers then run octconv's kernels.
///
/// # Errors
///
/// If there is no such device, or if it is open already: then use [`accelerate`] with the setup that it was opened with.
pub fn init(kind: DeviceKind) -> Result<Device, Error> {
    let (device, setup) = Device::wgpu_options().device_kind(kind).init_with_setup()?;
    accelerate(&device, &setup)?;
    Ok(device)
}

/// Lets octave layers on `device` run octconv's kernels. `setup` is what Burn opened it with, from `WgpuOptions::init_with_setup`,
/// or what the application gave to Burn.
///
/// # Errors
///
/// If `device` is not one of Burn's wgpu devices, or `setup` is that of another device of the same instance. That of another instance
/// wgpu cannot tell, and it may panic.
pub fn accelerate(device: &Device, setup: &WgpuSetup) -> Result<(), Error> {
    accelerate_with(device, setup, EngineOptions::default())
}

/// As [`accelerate`], with options for octconv, such as tuned variants and a pipeline cache. Its fields `adapter` and
/// `read_write` are set here.
///
/// # Errors
///
/// Those of [`accelerate`].
pub fn accelerate_with(device: &Device, setup: &WgpuSetup, options: EngineOptions) -> Result<(), Error> {
    let name = || format!("{device:?}");
    let DispatchDevice::Cube(cube @ CubeDevice::Wgpu(_)) = device.as_dispatch() else {
        return Err(Error::Device { device: name() });
    };
    check_setup(cube, setup).map_err(|problem| match problem {
        Problem::Setup(problem) => Error::Setup { device: name(), problem },
        Problem::Memory(error) => error.into(),
    })?;
    // Burn's tensors lie in shared buffers, inputs often in one with outputs.
    let options = EngineOptions { adapter: AdapterFacts::of(&setup.adapter), read_write: true, ..options };
    let accelerator = Accelerator { engine: Engine::new(&setup.device, options), queue: setup.queue.clone() };
    let mut accelerators = ACCELERATORS.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    accelerators.insert(cube.clone(), Arc::new(accelerator));
    Ok(())
}

/// Octave layers on `device` run Burn's operators again. Compiled kernels are freed with the last module that has used them.
pub fn decelerate(device: &Device) {
    if let DispatchDevice::Cube(cube) = device.as_dispatch() {
        ACCELERATORS.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(cube);
    }
}

impl Accelerator {
    /// The accelerator of a device, if it has one. A device with autodiff has none.
    pub(crate) fn of(device: &Device) -> Option<Arc<Self>> {
        let DispatchDevice::Cube(cube) = device.as_dispatch() else { return None };
        ACCELERATORS.read().unwrap_or_else(|poisoned| poisoned.into_inner()).get(cube).cloned()
    }
}

/// Where a handle lies on the device.
pub(crate) struct Place {
    pub(crate) buffer: wgpu::Buffer,
    pub(crate) offset: u64,
    /// Keeps the allocation in its place, and Burn from giving it to others.
    _held: Box<dyn Any + Send>,
}

impl Place {
    /// The place of a handle. What Burn has queued is submitted before this returns.
    pub(crate) fn of(client: &Client, handle: Handle) -> Result<Self, ServerError> {
        let held = client.get_resource::<WgpuServer<AutoCompiler>>(handle)?;
        let resource = held.resource();
        Ok(Self { buffer: resource.buffer.clone(), offset: resource.offset, _held: Box::new(held) })
    }
}

enum Problem {
    Setup(String),
    Memory(ServerError),
}

/// Binds a buffer of Burn's device on the device of `setup`, which wgpu refuses if they differ.
fn check_setup(cube: &CubeDevice, setup: &WgpuSetup) -> Result<(), Problem> {
    let client = cube.client();
    let place = Place::of(&client, client.empty(256)).map_err(Problem::Memory)?;
    let device = &setup.device;
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("octconv check of the device"),
        entries: &[wgpu::BindGroupLayoutEntry {
            binding: 0,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: false },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        }],
    });
    let buffer = wgpu::BufferBinding { buffer: &place.buffer, offset: place.offset, size: None };
    let _ = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("octconv check of the device"),
        layout: &layout,
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(buffer) }],
    });
    match pollster::block_on(scope.pop()) {
        Some(error) => Err(Problem::Setup(error.to_string())),
        None => Ok(()),
    }
}
