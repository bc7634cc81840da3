/* Plays a bundle of `octconv export --to spirv` with Vulkan 1.1, and compares its example if it has one.
 *
 *     cc -O2 -o play play.c -lvulkan -lcjson -lm && ./play FOLDER
 *     PLAY_DEVICE=1 ./play FOLDER     on the second device of several
 *
 * It keeps to what is simple: host-visible memory for all buffers, and a full barrier between dispatches. */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <vulkan/vulkan.h>

static void fail(const char *what, const char *which) {
    fprintf(stderr, "error: %s%s%s\n", what, which ? ": " : "", which ? which : "");
    exit(1);
}

/* Ends with another status, for those who try several devices. */
static void lacks(const char *what) {
    fprintf(stderr, "the device lacks %s\n", what);
    exit(3);
}

static void check(VkResult result, const char *what) {
    char number[32];
    snprintf(number, sizeof number, "VkResult %d", (int)result);
    if (result != VK_SUCCESS) fail(what, number);
}

/* Memory for `count` things, at least one. */
static void *room(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail("out of memory", NULL);
    return memory;
}

/* ---- the bundle ---- */

static const char *folder;
static cJSON *manifest;

static const cJSON *get(const cJSON *object, const char *name) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!value) fail("manifest.json lacks", name);
    return value;
}

/* What is beyond this is not exact in cJSON. */
#define MOST_NUMBER 9007199254740992.0

static uint64_t whole(const cJSON *value, const char *name) {
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0 && value->valuedouble <= MOST_NUMBER))
        fail("not a whole number", name);
    return (uint64_t)value->valuedouble;
}

static uint64_t number(const cJSON *object, const char *name) { return whole(get(object, name), name); }

/* A number of 32 bits, as Vulkan wants it. */
static uint32_t number32(const cJSON *object, const char *name) {
    uint64_t value = number(object, name);
    if (value > UINT32_MAX) fail("too large", name);
    return (uint32_t)value;
}

/* The place in a list of `count` things. */
static uint64_t place(const cJSON *object, const char *name, uint64_t count) {
    uint64_t value = number(object, name);
    if (value >= count) fail("no such place in a list", name);
    return value;
}

/* Refuses a range of what has `size` bytes. */
static void check_range(uint64_t offset, uint64_t bytes, uint64_t size, const char *name) {
    if (bytes > size || offset > size - bytes) fail("a range beyond the end", name);
}

static const cJSON *list(const cJSON *object, const char *name) {
    const cJSON *value = get(object, name);
    if (!cJSON_IsArray(value)) fail("not a list", name);
    return value;
}

static uint64_t length(const cJSON *items) { return (uint64_t)cJSON_GetArraySize(items); }

static const char *text(const cJSON *object, const char *name) {
    const cJSON *value = get(object, name);
    if (!cJSON_IsString(value)) fail("not a text", name);
    return value->valuestring;
}

/* A whole file of the bundle, with a zero behind it. */
static char *read_file(const char *name, size_t *bytes) {
    char path[4096];
    if (name[0] == '/' || strstr(name, "..")) fail("a file outside of the bundle", name);
    int written = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (written < 0 || (size_t)written >= sizeof path) fail("too long a path", name);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail("cannot read", path);
    long length = ftell(file);
    if (length < 0) fail("cannot read", path);
    char *data = room((size_t)length + 1, 1);
    rewind(file);
    if (fread(data, 1, (size_t)length, file) != (size_t)length) fail("cannot read", path);
    fclose(file);
    *bytes = (size_t)length;
    return data;
}

/* The file of the example's tensor `contents`, which has all its bytes; where they begin; and how many they are. */
static char *read_contents(const cJSON *contents, uint64_t *offset, uint64_t *bytes) {
    size_t size;
    const char *name = text(contents, "file");
    char *data = read_file(name, &size);
    *offset = number(contents, "offset");
    *bytes = number(contents, "bytes");
    check_range(*offset, *bytes, size, name);
    return data;
}

static int requires(const char *feature) {
    const cJSON *name;
    cJSON_ArrayForEach(name, list(get(manifest, "requires"), "features")) {
        if (cJSON_IsString(name) && strcmp(name->valuestring, feature) == 0) return 1;
    }
    return 0;
}

/* ---- the device ---- */

static VkInstance instance;
static VkPhysicalDevice physical;
static VkDevice device;
static VkQueue queue;
static uint32_t family;

/* What older headers lack. Names are shorter than Vulkan's, so that newer headers do not clash. */
#define STRUCTURE_SUBGROUP_SIZES ((VkStructureType)1000225000)
#define STRUCTURE_MATRIX_FEATURES ((VkStructureType)1000506000)
#define STRUCTURE_MATRIX_SHAPE ((VkStructureType)1000506001)
enum { F16 = 0, F32 = 1, SUBGROUP = 3 };

typedef struct { /* VkPhysicalDeviceSubgroupSizeControlProperties */
    VkStructureType sType;
    void *pNext;
    uint32_t fewest, most, most_subgroups;
    VkShaderStageFlags stages;
} SubgroupSizes;

typedef struct { /* VkPhysicalDeviceCooperativeMatrixFeaturesKHR */
    VkStructureType sType;
    void *pNext;
    VkBool32 matrices, robust;
} MatrixFeatures;

typedef struct { /* VkCooperativeMatrixPropertiesKHR */
    VkStructureType sType;
    void *pNext;
    uint32_t m, n, k;
    int32_t a, b, c, result;
    VkBool32 saturates;
    int32_t scope;
} Shape;

typedef VkResult(VKAPI_PTR *ListMatrices)(VkPhysicalDevice, uint32_t *, Shape *);

static int named(const char *name, const VkExtensionProperties *all, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(all[i].extensionName, name) == 0) return 1;
    return 0;
}

static void check_limits(const VkPhysicalDeviceLimits *has, VkDeviceSize largest_allocation) {
    const cJSON *limits = get(get(manifest, "requires"), "limits");
    uint64_t alignment = number(limits, "offset_alignment");
    if (number(limits, "max_buffer_size") > largest_allocation ||
        number(limits, "max_storage_buffer_binding_size") > has->maxStorageBufferRange ||
        number(limits, "max_uniform_buffer_binding_size") > has->maxUniformBufferRange ||
        number(limits, "max_storage_buffers_per_shader_stage") > has->maxPerStageDescriptorStorageBuffers ||
        number(limits, "max_compute_workgroup_storage_size") > has->maxComputeSharedMemorySize ||
        number(limits, "max_compute_invocations_per_workgroup") > has->maxComputeWorkGroupInvocations ||
        number(limits, "max_compute_workgroup_size_x") > has->maxComputeWorkGroupSize[0] ||
        number(limits, "max_compute_workgroups_per_dimension") > has->maxComputeWorkGroupCount[0] ||
        number(limits, "max_compute_workgroups_per_dimension") > has->maxComputeWorkGroupCount[1] ||
        alignment % has->minStorageBufferOffsetAlignment) /* Uniforms lie at multiples of 256, the most that Vulkan allows. */
        lacks("limits that the bundle requires");
}

static void open_instance(void) {
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_1};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
    uint32_t count = 0;
    vkEnumerateInstanceExtensionProperties(NULL, &count, NULL);
    VkExtensionProperties *all = room(count, sizeof *all);
    check(vkEnumerateInstanceExtensionProperties(NULL, &count, all), "no Vulkan");
    /* Without this, Vulkan on Metal does not list its devices. */
    const char *portability = "VK_KHR_portability_enumeration";
    if (named(portability, all, count)) {
        info.flags = 1; /* VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR */
        info.enabledExtensionCount = 1;
        info.ppEnabledExtensionNames = &portability;
    }
    check(vkCreateInstance(&info, NULL, &instance), "no Vulkan");
    free(all);
}

/* The device that the variable PLAY_DEVICE names by its number, from 0 on. Without it, the first of the fastest kind. */
static void choose_device(void) {
    static const int rank[] = {[VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU] = 4, [VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU] = 3,
                               [VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU] = 2, [VK_PHYSICAL_DEVICE_TYPE_CPU] = 1};
    uint32_t count = 0;
    vkEnumeratePhysicalDevices(instance, &count, NULL);
    if (count == 0) fail("no Vulkan device", NULL);
    VkPhysicalDevice *all = room(count, sizeof *all);
    check(vkEnumeratePhysicalDevices(instance, &count, all), "cannot list the devices");
    const char *asked = getenv("PLAY_DEVICE");
    int best = -1;
    for (uint32_t i = 0; i < count; i++) {
        VkPhysicalDeviceProperties properties;
        vkGetPhysicalDeviceProperties(all[i], &properties);
        unsigned type = properties.deviceType;
        int of_this = type < sizeof rank / sizeof *rank ? rank[type] : 0;
        char number[16];
        snprintf(number, sizeof number, "%u", i);
        if (asked ? strcmp(asked, number) == 0 : of_this > best) {
            physical = all[i];
            best = of_this;
        }
    }
    if (best < 0) fail("PLAY_DEVICE is no device", asked);
    free(all);
}

static int has_extension(const char *name) {
    uint32_t count = 0;
    vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL);
    VkExtensionProperties *all = room(count, sizeof *all);
    check(vkEnumerateDeviceExtensionProperties(physical, NULL, &count, all), "cannot list the extensions");
    int found = named(name, all, count);
    free(all);
    return found;
}

/* Fails unless subgroups are no larger than those that the kernels were made for, and multiply matrices as they do. */
static void check_matrices(void) {
    const cJSON *requirements = get(manifest, "requires");
    VkPhysicalDeviceSubgroupProperties basic = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    SubgroupSizes sizes = {.sType = STRUCTURE_SUBGROUP_SIZES, .pNext = &basic};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &sizes};
    vkGetPhysicalDeviceProperties2(physical, &all);
    uint32_t largest = sizes.most ? sizes.most : basic.subgroupSize;
    if (largest > whole(cJSON_GetArrayItem(list(requirements, "subgroup_sizes"), 1), "subgroup_sizes"))
        lacks("subgroups as small as the bundle requires");
    if (!(basic.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT)) lacks("subgroups in compute shaders");

    const cJSON *matrix = get(requirements, "matrix");
    uint32_t side = number32(matrix, "side");
    if (strcmp(text(matrix, "factors"), "f16") || strcmp(text(matrix, "sums"), "f32"))
        lacks("a type of matrices that this player does not know");
    ListMatrices list_matrices =
        (ListMatrices)(void (*)(void))vkGetInstanceProcAddr(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    uint32_t count = 0;
    if (!list_matrices || list_matrices(physical, &count, NULL) != VK_SUCCESS || count == 0) lacks("cooperative_matrix");
    Shape *shapes = room(count, sizeof *shapes);
    for (uint32_t i = 0; i < count; i++) shapes[i].sType = STRUCTURE_MATRIX_SHAPE;
    check(list_matrices(physical, &count, shapes), "cannot list the matrices");
    int found = 0;
    for (uint32_t i = 0; i < count; i++) {
        const Shape *s = &shapes[i];
        found |= s->m == side && s->n == side && s->k == side && s->a == F16 && s->b == F16 && s->c == F32 &&
                 s->result == F32 && s->scope == SUBGROUP;
    }
    free(shapes);
    if (!found) lacks("matrices of the side that the bundle requires");
}

static void open_device(void) {
    open_instance();
    choose_device();
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(physical, &properties);
    printf("on %s\n", properties.deviceName);
    if (properties.apiVersion < VK_API_VERSION_1_1) lacks("Vulkan 1.1");
    VkPhysicalDeviceMaintenance3Properties more = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &more};
    vkGetPhysicalDeviceProperties2(physical, &all);
    check_limits(&properties.limits, more.maxMemoryAllocationSize);

    uint32_t families = 16;
    VkQueueFamilyProperties queues[16];
    vkGetPhysicalDeviceQueueFamilyProperties(physical, &families, queues);
    while (family < families && !(queues[family].queueFlags & VK_QUEUE_COMPUTE_BIT)) family++;
    if (family == families) fail("the device does not compute", NULL);

    /* What shader_f16 is in Vulkan. */
    VkPhysicalDevice16BitStorageFeatures storage = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES};
    VkPhysicalDeviceShaderFloat16Int8Features halves = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES, .pNext = &storage};
    /* What subgroups and cooperative_matrix are. */
    VkPhysicalDeviceVulkanMemoryModelFeatures model = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES, .pNext = &halves};
    MatrixFeatures units = {.sType = STRUCTURE_MATRIX_FEATURES, .pNext = &model};
    int matrices = requires("cooperative_matrix");
    if (matrices && !(has_extension("VK_KHR_cooperative_matrix") && has_extension("VK_KHR_vulkan_memory_model")))
        lacks("cooperative_matrix");
    void *features = matrices ? (void *)&units : (void *)&halves;
    VkPhysicalDeviceFeatures2 has = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = features};
    vkGetPhysicalDeviceFeatures2(physical, &has);
    VkPhysicalDeviceFeatures2 wanted = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = features};
    const char *extensions[4];
    uint32_t extension_count = 0;
    int f16 = requires("shader_f16");
    if (f16 && !(halves.shaderFloat16 && storage.storageBuffer16BitAccess && storage.uniformAndStorageBuffer16BitAccess))
        lacks("shader_f16");
    wanted.features.shaderInt64 = requires("shader_int64");
    if (wanted.features.shaderInt64 && !has.features.shaderInt64) lacks("shader_int64");
    if (matrices) {
        if (!units.matrices || !model.vulkanMemoryModel) lacks("cooperative_matrix");
        check_matrices();
        units.robust = model.vulkanMemoryModelDeviceScope = model.vulkanMemoryModelAvailabilityVisibilityChains = VK_FALSE;
    }
    int subgroups = requires("subgroups");
    if (subgroups && !matrices) lacks("subgroups without matrices, which this player does not know");
    if (length(list(get(manifest, "requires"), "features")) !=
        (uint64_t)(f16 + (int)wanted.features.shaderInt64 + subgroups + matrices))
        lacks("a feature that this player does not know");
    if (f16) extensions[extension_count++] = VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME;
    if (matrices) {
        extensions[extension_count++] = "VK_KHR_cooperative_matrix";
        extensions[extension_count++] = "VK_KHR_vulkan_memory_model";
    }
    /* Who has it must enable it. */
    if (has_extension("VK_KHR_portability_subset")) extensions[extension_count++] = "VK_KHR_portability_subset";
    halves.shaderInt8 = VK_FALSE;
    storage.storageInputOutput16 = storage.storagePushConstant16 = VK_FALSE;

    float priority = 1;
    VkDeviceQueueCreateInfo queue_info = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                          .queueFamilyIndex = family, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo device_info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .pNext = f16 || matrices ? &wanted : NULL,
                                      .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue_info,
                                      .enabledExtensionCount = extension_count, .ppEnabledExtensionNames = extensions,
                                      .pEnabledFeatures = f16 || matrices ? NULL : &wanted.features};
    check(vkCreateDevice(physical, &device_info, NULL, &device), "cannot open the device");
    vkGetDeviceQueue(device, family, 0, &queue);
}

/* ---- buffers ---- */

typedef struct {
    VkBuffer buffer;
    uint8_t *bytes;
    uint64_t size;
} Buffer;

static Buffer *buffers;
static uint64_t buffer_count;

/* The buffer of a tensor or of a range of a dispatch, which lies within it. */
static const Buffer *buffer_of(const cJSON *range) {
    const Buffer *buffer = &buffers[place(range, "buffer", buffer_count)];
    check_range(number(range, "offset"), number(range, "bytes"), buffer->size, "bytes");
    return buffer;
}

static Buffer make_buffer(const cJSON *described) {
    Buffer made;
    int uniform = strcmp(text(described, "usage"), "uniform") == 0;
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = number(described, "bytes"),
                               .usage = uniform ? VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT : VK_BUFFER_USAGE_STORAGE_BUFFER_BIT};
    check(vkCreateBuffer(device, &info, NULL, &made.buffer), "cannot make a buffer");
    made.size = info.size;
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(device, made.buffer, &needs);
    VkPhysicalDeviceMemoryProperties types;
    vkGetPhysicalDeviceMemoryProperties(physical, &types);
    VkMemoryPropertyFlags want = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    uint32_t type = 0;
    while (type < types.memoryTypeCount &&
           !((needs.memoryTypeBits >> type & 1) && (types.memoryTypes[type].propertyFlags & want) == want))
        type++;
    if (type == types.memoryTypeCount) fail("no memory that the host sees", NULL);
    VkMemoryAllocateInfo allocation = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = needs.size,
                                       .memoryTypeIndex = type};
    VkDeviceMemory memory;
    check(vkAllocateMemory(device, &allocation, NULL, &memory), "cannot take memory");
    check(vkBindBufferMemory(device, made.buffer, memory, 0), "cannot bind memory");
    check(vkMapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, (void **)&made.bytes), "cannot map memory");
    if (cJSON_GetObjectItemCaseSensitive(described, "file")) {
        size_t bytes;
        const char *file = text(described, "file");
        char *data = read_file(file, &bytes);
        if (bytes != info.size) fail("another size than its buffer has", file);
        memcpy(made.bytes, data, bytes);
        free(data);
    }
    return made;
}

/* ---- kernels ---- */

typedef struct {
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
    VkPipeline pipeline;
} Kernel;

static VkDescriptorType type_of(const cJSON *binding) {
    return strcmp(text(binding, "access"), "uniform") == 0 ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER
                                                           : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
}

static Kernel make_kernel(const cJSON *described) {
    Kernel made;
    VkDescriptorSetLayoutBinding bindings[32] = {0};
    uint32_t count = 0;
    const cJSON *binding;
    cJSON_ArrayForEach(binding, list(described, "bindings")) {
        if (count == 32) fail("too many bindings", text(described, "name"));
        bindings[count++] = (VkDescriptorSetLayoutBinding){.binding = number32(binding, "binding"),
                                                           .descriptorType = type_of(binding), .descriptorCount = 1,
                                                           .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    }
    VkDescriptorSetLayoutCreateInfo set_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                                .bindingCount = count, .pBindings = bindings};
    check(vkCreateDescriptorSetLayout(device, &set_info, NULL, &made.set_layout), "cannot make a layout");
    VkPipelineLayoutCreateInfo layout_info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                              .setLayoutCount = 1, .pSetLayouts = &made.set_layout};
    check(vkCreatePipelineLayout(device, &layout_info, NULL, &made.layout), "cannot make a layout");
    size_t bytes;
    char *code = read_file(text(described, "file"), &bytes);
    if (bytes % 4) fail("no SPIR-V", text(described, "file"));
    VkShaderModuleCreateInfo module_info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = bytes,
                                            .pCode = (const uint32_t *)code};
    VkShaderModule module;
    check(vkCreateShaderModule(device, &module_info, NULL, &module), "cannot make a shader");
    VkComputePipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                                  .stage = VK_SHADER_STAGE_COMPUTE_BIT, .module = module,
                                                  .pName = text(described, "entry_point")},
                                        .layout = made.layout};
    check(vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &made.pipeline), "cannot compile");
    vkDestroyShaderModule(device, module, NULL);
    free(code);
    return made;
}

/* ---- dispatches ---- */

static VkDescriptorPool make_pool(uint32_t dispatches) {
    uint32_t uniforms = 0, storages = 0;
    const cJSON *dispatch;
    cJSON_ArrayForEach(dispatch, list(manifest, "dispatches")) {
        uint64_t bindings = length(list(dispatch, "bindings"));
        if (bindings < 2) fail("a dispatch without bindings", NULL);
        uniforms += 1;
        storages += (uint32_t)bindings - 1;
    }
    VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, uniforms},
                                    {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, storages}};
    VkDescriptorPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, .maxSets = dispatches,
                                       .poolSizeCount = 2, .pPoolSizes = sizes};
    VkDescriptorPool pool;
    check(vkCreateDescriptorPool(device, &info, NULL, &pool), "cannot make descriptors");
    return pool;
}

static void record(VkCommandBuffer commands, VkDescriptorPool pool, const cJSON *dispatch, const Kernel *kernel,
                   const cJSON *kernel_bindings) {
    VkDescriptorSetAllocateInfo allocation = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                              .descriptorPool = pool, .descriptorSetCount = 1,
                                              .pSetLayouts = &kernel->set_layout};
    VkDescriptorSet set;
    check(vkAllocateDescriptorSets(device, &allocation, &set), "cannot make descriptors");
    const cJSON *ranges = list(dispatch, "bindings"), *range, *binding = kernel_bindings->child;
    if (length(ranges) != length(kernel_bindings)) fail("more or fewer ranges than the kernel binds", NULL);
    cJSON_ArrayForEach(range, ranges) {
        if (number(range, "binding") != number(binding, "binding")) fail("another binding than the kernel's", NULL);
        VkDescriptorBufferInfo bound = {buffer_of(range)->buffer, number(range, "offset"), number(range, "bytes")};
        VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, .dstSet = set,
                                      .dstBinding = number32(range, "binding"), .descriptorCount = 1,
                                      .descriptorType = type_of(binding), .pBufferInfo = &bound};
        vkUpdateDescriptorSets(device, 1, &write, 0, NULL);
        binding = binding->next;
    }
    VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
    VkPipelineStageFlags compute = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
    vkCmdPipelineBarrier(commands, compute, compute, 0, 1, &barrier, 0, NULL, 0, NULL);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel->pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel->layout, 0, 1, &set, 0, NULL);
    const cJSON *workgroups = list(dispatch, "workgroups");
    uint32_t counts[3];
    if (length(workgroups) != 3) fail("not three numbers", "workgroups");
    for (int i = 0; i < 3; i++) {
        uint64_t most = number(get(get(manifest, "requires"), "limits"), "max_compute_workgroups_per_dimension");
        uint64_t wanted = whole(cJSON_GetArrayItem(workgroups, i), "workgroups");
        if (wanted > most) fail("more than the bundle says", "workgroups");
        counts[i] = (uint32_t)wanted;
    }
    vkCmdDispatch(commands, counts[0], counts[1], counts[2]);
}

static void run(void) {
    const cJSON *kernels = list(manifest, "kernels"), *dispatches = list(manifest, "dispatches"), *item;
    Kernel *made = room(length(kernels), sizeof *made);
    const cJSON **bindings = room(length(kernels), sizeof *bindings);
    size_t count = 0;
    cJSON_ArrayForEach(item, kernels) {
        bindings[count] = list(item, "bindings");
        made[count++] = make_kernel(item);
    }
    VkDescriptorPool pool = make_pool((uint32_t)length(dispatches));

    VkCommandPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, .queueFamilyIndex = family};
    VkCommandPool command_pool;
    check(vkCreateCommandPool(device, &pool_info, NULL, &command_pool), "cannot make commands");
    VkCommandBufferAllocateInfo allocation = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                              .commandPool = command_pool, .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                              .commandBufferCount = 1};
    VkCommandBuffer commands;
    check(vkAllocateCommandBuffers(device, &allocation, &commands), "cannot make commands");
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    check(vkBeginCommandBuffer(commands, &begin), "cannot record");
    cJSON_ArrayForEach(item, dispatches) {
        uint64_t kernel = place(item, "kernel", count);
        record(commands, pool, item, &made[kernel], bindings[kernel]);
    }
    /* What the host reads. */
    VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0,
                         NULL, 0, NULL);
    check(vkEndCommandBuffer(commands), "cannot record");
    VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &commands};
    check(vkQueueSubmit(queue, 1, &submit, VK_NULL_HANDLE), "cannot submit");
    check(vkQueueWaitIdle(queue), "it did not run");
    free(made);
    free(bindings);
}

/* ---- the example ---- */

static float half_to_float(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                      : exponent     ? ldexpf((float)(fraction + 1024), exponent - 25)
                                     : ldexpf((float)fraction, -24);
    return half >> 15 ? -magnitude : magnitude;
}

static double worst_difference(const cJSON *output, const cJSON *right) {
    const uint8_t *found = buffer_of(output)->bytes + number(output, "offset");
    int f16 = strcmp(text(output, "dtype"), "f16") == 0;
    uint64_t offset, bytes;
    char *data = read_contents(right, &offset, &bytes);
    uint64_t elements = bytes / 4;
    check_range(0, elements * (f16 ? 2 : 4), number(output, "bytes"), text(output, "name"));
    double worst = 0;
    for (uint64_t i = 0; i < elements; i++) {
        float wanted, value;
        uint16_t half;
        memcpy(&wanted, data + offset + 4 * i, 4);
        if (f16) {
            memcpy(&half, found + 2 * i, 2);
            value = half_to_float(half);
        } else {
            memcpy(&value, found + 4 * i, 4);
        }
        double difference = fabs((double)value - wanted);
        /* A NaN would be lost in the next comparison. */
        if (isnan(difference)) difference = INFINITY;
        if (difference > worst) worst = difference;
    }
    free(data);
    return worst;
}

int main(int count, char **arguments) {
    if (count != 2) fail("usage: play FOLDER", NULL);
    folder = arguments[1];
    size_t bytes;
    char *json = read_file("manifest.json", &bytes);
    manifest = cJSON_Parse(json);
    if (!manifest) fail("manifest.json is no JSON", NULL);
    if (number(manifest, "octconv_bundle") != 1 || strcmp(text(manifest, "language"), "spirv") != 0)
        fail("not a bundle of version 1 in SPIR-V", NULL);
    open_device();

    const cJSON *described = list(manifest, "buffers"), *item;
    buffers = room(length(described), sizeof *buffers);
    cJSON_ArrayForEach(item, described) buffers[buffer_count++] = make_buffer(item);

    const cJSON *example = cJSON_GetObjectItemCaseSensitive(manifest, "example");
    if (example) {
        const cJSON *inputs = list(manifest, "inputs"), *given = list(example, "inputs")->child;
        if (length(inputs) != length(list(example, "inputs"))) fail("the example has more or fewer inputs", NULL);
        cJSON_ArrayForEach(item, inputs) {
            uint64_t offset, given_bytes;
            char *data = read_contents(given, &offset, &given_bytes);
            if (given_bytes != number(item, "bytes")) fail("the example has another size", text(item, "name"));
            memcpy(buffer_of(item)->bytes + number(item, "offset"), data + offset, given_bytes);
            free(data);
            given = given->next;
        }
    }
    run();
    if (!example) {
        printf("%s: it ran, and has no example to compare with\n", text(manifest, "name"));
        return 0;
    }
    double worst = 0, allowed = get(example, "tolerance")->valuedouble;
    const cJSON *outputs = list(manifest, "outputs"), *right = list(example, "outputs")->child;
    if (length(outputs) != length(list(example, "outputs"))) fail("the example has more or fewer outputs", NULL);
    cJSON_ArrayForEach(item, outputs) {
        double difference = worst_difference(item, right);
        if (difference > worst) worst = difference;
        right = right->next;
    }
    printf("%s: differs by %.3g, and %.3g is allowed\n", text(manifest, "name"), worst, allowed);
    return worst <= allowed ? 0 : 1;
}
