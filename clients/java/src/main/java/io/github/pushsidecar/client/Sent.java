package io.github.pushsidecar.client;

/** Whether a push that failed may have gone out. */
public enum Sent {
  /** Proved: nothing reached the vendor, or the vendor did nothing. Sending again cannot push twice, but may fail for the same reason. */
  NO,
  /** Everything else. Sending again may push twice: that is the caller's decision. */
  MAYBE
}
