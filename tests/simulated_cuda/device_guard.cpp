// Copyright (c) mmfdta authors.
// Tells a CPU build of PyTorch that there is one CUDA device, which does nothing.
//
// Autograd asks the device guard for streams and devices of tensors on a GPU, and the hooks
// for pinned memory. PyTorch asks for the hooks once, so this has to be loaded before torch.
// Pinned memory is memory of the host whose addresses are kept in a table.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/csrc/distributed/c10d/reducer_timer.hpp>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>

namespace simulated_cuda {

const c10::Device kDevice(c10::DeviceType::CUDA, 0);

class PinnedMemory final : public c10::Allocator {
 public:
  static PinnedMemory& instance() {
    static auto* memory = new PinnedMemory();  // outlives every tensor
    return *memory;
  }

  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) {
      return {nullptr, c10::Device(c10::DeviceType::CPU)};
    }
    void* start = nullptr;
    TORCH_CHECK(posix_memalign(&start, 64, bytes) == 0, "no memory for ", bytes, " bytes");
    std::lock_guard<std::mutex> lock(mutex_);
    blocks_[reinterpret_cast<uintptr_t>(start)] = bytes;
    return {start, start, &PinnedMemory::release, c10::Device(c10::DeviceType::CPU)};
  }

  bool holds(const void* pointer) {
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    std::lock_guard<std::mutex> lock(mutex_);
    auto next = blocks_.upper_bound(address);
    if (next == blocks_.begin()) {
      return false;
    }
    const auto block = std::prev(next);
    return address < block->first + block->second;
  }

  c10::DeleterFnPtr raw_deleter() const override { return &PinnedMemory::release; }

  void copy_data(void* target, const void* source, size_t bytes) const override {
    default_copy_data(target, source, bytes);
  }

 private:
  static void release(void* start) {
    auto& memory = instance();
    {
      std::lock_guard<std::mutex> lock(memory.mutex_);
      memory.blocks_.erase(reinterpret_cast<uintptr_t>(start));
    }
    std::free(start);
  }

  std::mutex mutex_;
  std::map<uintptr_t, size_t> blocks_;
};

struct Guard final : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> {
  c10::Device getDevice() const override { return kDevice; }
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Stream getStream(c10::Device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, kDevice);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return getStream(kDevice); }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard)

}  // namespace simulated_cuda

namespace c10d {

// DistributedDataParallel asks for one of the device.
struct SimulatedTimer final : Timer {
  explicit SimulatedTimer(c10::Device) {}
  std::optional<int64_t> measureDifference(Event, Event) override { return std::nullopt; }
};

C10_REGISTER_TYPED_CLASS(TimerRegistry, c10::kCUDA, SimulatedTimer)

}  // namespace c10d

namespace at {

struct SimulatedCUDAHooks final : CUDAHooksInterface {
  explicit SimulatedCUDAHooks(CUDAHooksArgs) {}

  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  int getNumGPUs() const override { return 1; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
  void deviceSynchronize(DeviceIndex) const override {}
  // What is drawn on the device is what the host would draw.
  const Generator& getDefaultGenerator(DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
  Generator getNewGenerator(DeviceIndex) const override { return at::detail::createCPUGenerator(); }
  Allocator* getPinnedMemoryAllocator() const override {
    return &simulated_cuda::PinnedMemory::instance();
  }
  bool isPinnedPtr(const void* pointer) const override {
    return simulated_cuda::PinnedMemory::instance().holds(pointer);
  }
};

C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, SimulatedCUDAHooks)

}  // namespace at
