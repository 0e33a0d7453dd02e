// Sets TensorFlow's log level before TensorFlow's own start. libtensorflow since 2.17 logs through Abseil, and what its
// static initialisers log ("oneDNN custom operations are on", on processors where it turns them on by itself) comes before
// it reads TF_CPP_MIN_LOG_LEVEL. An object with the flag `initfirst` is initialised before the libraries that are loaded
// with it, though it is linked with them: Abseil's level is a constant until then, and may be set.
#include <cstdlib>

#include "absl/base/log_severity.h"
#include "absl/log/globals.h"

// 0: all, 1: warnings and errors, 2: errors, 3: what ends the process.
__attribute__((constructor)) static void SetLogLevel() {
  const char* text = std::getenv("TF_CPP_MIN_LOG_LEVEL");
  const int level = text == nullptr || *text == '\0' ? 1 : std::atoi(text);
  absl::SetMinLogLevel(static_cast<absl::LogSeverityAtLeast>(level));
}

// Node loads it as an addon, without a function of its own.
extern "C" __attribute__((visibility("default"))) void* napi_register_module_v1(void*, void* exports) {
  return exports;
}
