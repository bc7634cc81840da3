"""The names of the Vulkan devices that the loader shows."""

import ctypes
import sys

from forms import InputError


class _InstanceInfo(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int32),
        ("next", ctypes.c_void_p),
        ("flags", ctypes.c_uint32),
        ("application", ctypes.c_void_p),
        ("layer_count", ctypes.c_uint32),
        ("layers", ctypes.c_void_p),
        ("extension_count", ctypes.c_uint32),
        ("extensions", ctypes.c_void_p),
    ]


def vulkan_devices():
    """Their names, in the loader's order."""
    library = {"win32": "vulkan-1.dll", "darwin": "libvulkan.1.dylib"}.get(sys.platform, "libvulkan.so.1")
    try:
        vulkan = ctypes.CDLL(library)
    except OSError as error:
        raise InputError(f"there is no Vulkan loader: {error}") from None
    instance = ctypes.c_void_p()
    info = _InstanceInfo(type=1)
    if result := vulkan.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance)):
        raise InputError(f"vkCreateInstance gives {result}")
    try:
        count = ctypes.c_uint32()
        vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
        handles = (ctypes.c_void_p * count.value)()
        vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), handles)
        return [_name(vulkan, handle) for handle in handles[: count.value]]
    finally:
        vulkan.vkDestroyInstance(instance, None)


def _name(vulkan, handle):
    # VkPhysicalDeviceProperties is 824 bytes; the name follows five 32-bit numbers.
    properties = ctypes.create_string_buffer(4096)
    vulkan.vkGetPhysicalDeviceProperties(ctypes.c_void_p(handle), properties)
    name = properties.raw[20:276].split(b"\0")[0].decode("utf-8", "replace")
    return " ".join(name.split())


def the_device():
    """The one device that every peer will be on."""
    names = vulkan_devices()
    if len(names) != 1:
        shown = ", ".join(names) or "none"
        raise InputError(
            f"the Vulkan loader shows {len(names)} devices ({shown}): must be one, so that all peers are on it;"
            " choose it with VK_DRIVER_FILES or VK_LOADER_DEVICE_SELECT"
        )
    return names[0]
